"""List, show and delete models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query

from service.app import NOT_FOUND, TheService
from service.records import Job
from service.routers.jobs import columns, newest, status_of
from service.schemas import ModelDetails, ModelList, ModelSummary, Name
from service.store import Store

router = APIRouter(tags=["models"], prefix="/models")

_DELETE_PATIENCE_S = 30.0


@router.get("")
def list_models(
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    order: Literal["name", "newest"] = "name",
) -> ModelList:
    """All models, by project and name; or those in training first, then newest first."""
    jobs = service.store.newest_of_models(limit, offset, by_name=order == "name")
    return ModelList(
        models=[ModelSummary.model_validate(_summary(job, service.store)) for job in jobs],
        total=service.store.models(),
    )


@router.get("/{project}/{model_name}", responses=NOT_FOUND)
def get_model(project: Name, model_name: Name, service: TheService) -> ModelDetails:
    """A model with its newest request and its jobs."""
    store = service.store
    last = newest(store, project, model_name)
    statuses = [status_of(job, store) for job in store.of_model(project, model_name)]
    return ModelDetails.model_validate(
        _summary(last, store) | {"request": store.request(last.id), "jobs": statuses}
    )


@router.delete("/{project}/{model_name}", status_code=204, responses=NOT_FOUND)
def delete_model(project: Name, model_name: Name, service: TheService) -> None:
    """Kill the model's worker, if any, and delete the model with its jobs, checkpoints and data. Answers
    when nothing is left."""
    newest(service.store, project, model_name)
    runs = service.store.delete(project, model_name)
    if not service.supervisor.wait_until_gone(runs, _DELETE_PATIENCE_S):
        raise HTTPException(
            503, "the model is deleted, but its worker has not ended yet; it will be killed"
        )


def _summary(job: Job, store: Store) -> dict[str, Any]:
    return columns(job, ModelSummary) | {"queue_position": store.position(job)}
