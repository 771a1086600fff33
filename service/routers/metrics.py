"""Numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from service.app import TheService
from service.metrics import CONTENT_TYPE, render

router = APIRouter(tags=["service"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: TheService) -> PlainTextResponse:
    """Jobs, steps, streams and answers, in Prometheus' text format."""
    text = render(service.store, dict(service.answers), service.feed.open)
    return PlainTextResponse(text, media_type=CONTENT_TYPE)
