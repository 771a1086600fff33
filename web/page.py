"""Serve a page and its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

# No inline code, no third-party resources, no frames.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # scripts must match the server's version
}


def files_in(folder: Path) -> dict[str, Path]:
    """The scripts, styles and images of a folder, by name."""
    return {file.name: file for file in folder.iterdir() if file.suffix in (".js", ".css", ".svg")}


ASSETS = files_in(Path(__file__).parent / "assets")


def page_router(index: Path, prefix: str, files: Mapping[str, Path]) -> APIRouter:
    """Serves ``index`` at ``/`` and the files at ``/prefix/name``. No path reaches other files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def page() -> FileResponse:
        return FileResponse(index, headers=_HEADERS)

    @router.get(f"/{prefix}/{{name}}")
    def file(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404, "the page has no such file")
        return FileResponse(files[name], headers=_HEADERS)

    return router
