"""Numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from service.app import TheService
from service.metrics import CONTENT_TYPE, render

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    # With a media type it would describe refusals as of that type too.
    response_class=Response,
    responses={200: {"description": "Numbers.", "content": {"text/plain": {}}}},
)
def metrics(service: TheService) -> PlainTextResponse:
    """Jobs, steps, streams and answers, in Prometheus' text format."""
    text = render(service.store, dict(service.answers), service.feed.open)
    return PlainTextResponse(text, media_type=CONTENT_TYPE)
