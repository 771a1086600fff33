"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder

from service.app import TheService

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    # Not a response_class with a media type: OpenAPI would declare that type for refusals, too.
    response_class=Response,
    responses={200: {"description": "Metrics.", "content": {"text/plain": {}}}},
)
def metrics(request: Request, service: TheService) -> Response:
    """Jobs, steps, streams and responses, in Prometheus' text format."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service.metrics), media_type=content_type)
