"""The page at ``/``. Its files are open to all: they say nothing of jobs, and what the page shows it
asks the API for, with the token that its reader gives it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from web.guard import CONTENT_SECURITY_POLICY

_HERE = Path(__file__).parents[1] / "page"
_SHARED = Path(__file__).parents[2] / "web" / "assets"
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a newer service brings a newer page
}
# By name: nothing else in the folders is served, however it is asked for.
FILES = {file.name: file for file in _HERE.iterdir() if file.suffix in (".js", ".css", ".svg")} | {
    name: _SHARED / name for name in ("style.css", "dom.js", "key.js", "sse.js")
}
PATHS = frozenset({"/", *(f"/page/{name}" for name in FILES)})

router = APIRouter(include_in_schema=False)


@router.get("/")
def index() -> FileResponse:
    return FileResponse(_HERE / "index.html", headers=_HEADERS)


@router.get("/page/{name}")
def asset(name: str) -> FileResponse:
    if name not in FILES:
        raise HTTPException(404, "the page has no such file")
    return FileResponse(FILES[name], headers=_HEADERS)
