"""Renders the templates of the reports. Everything they show is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def _shown(value: Any) -> Any:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else value


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, title: str, **values: object) -> str:
    return _TEMPLATES.get_template(f"{template}.html.j2").render(values, title=title)
