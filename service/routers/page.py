"""The page at ``/``. Its files are public as they contain nothing about jobs: the page gets its data
from the API, with the token that the user enters."""

from __future__ import annotations

from pathlib import Path

from web.page import ASSETS, files_in, page_router

_PAGE = Path(__file__).parents[1] / "page"
_SHARED = ("style.css", "dom.js", "key.js", "sse.js")
_FILES = files_in(_PAGE) | {name: ASSETS[name] for name in _SHARED}

PATHS = frozenset({"/", *(f"/page/{name}" for name in _FILES)})
router = page_router(_PAGE / "index.html", "page", _FILES)
