"""The state of the training service."""

from __future__ import annotations

import os

from fastapi import APIRouter, Response

from service import VERSION
from service.app import TheService
from service.schemas import Health
from service.states import Status

router = APIRouter(tags=["service"])


@router.get(
    "/health", responses={503: {"model": Health, "description": "The service starts no jobs."}}
)
def health(service: TheService, response: Response) -> Health:
    """Whether the service starts jobs, and what is configured. Requires no token."""
    counts = service.store.counts()
    alive = service.supervisor.alive
    response.status_code = 200 if alive else 503
    return Health(
        status="healthy" if alive else "failing",
        version=VERSION,
        art_backend=service.settings.backend.kind,
        openai_configured=bool(os.environ.get("OPENAI_API_KEY")),
        wandb_configured=bool(os.environ.get("WANDB_API_KEY")),
        device=service.checker.device,
        queue_depth=counts[Status.QUEUED],
        running=counts[Status.RUNNING],
    )
