"""Follow and cancel the job of a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import Response
from pydantic import BaseModel

from service.app import CONFLICT, NOT_FOUND, TheService
from service.records import Job, NoSuchJob
from service.schemas import NO_MORE, JobStatus, Name
from service.states import Status
from service.store import Store
from service.stream import resume_at
from web.events import MEDIA_TYPE

router = APIRouter(tags=["training"], prefix="/train/{project}/{model_name}")

# Not a response_class with a media type: OpenAPI would declare that type for refusals, too.
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events.", "content": {MEDIA_TYPE: {}}},
    NO_MORE: {"description": "The job has ended, and there are no later events."},
}


@router.get("/status", responses=NOT_FOUND)
def status(project: Name, model_name: Name, service: TheService) -> JobStatus:
    """The status of the model's newest job."""
    return status_of(newest(service.store, project, model_name), service.store)


@router.get("/stream", response_class=Response, responses=NOT_FOUND | _EVENTS)
async def stream(
    project: Name,
    model_name: Name,
    service: TheService,
    last_event_id: Annotated[str | None, Header(description="The last id seen.")] = None,
    after: Annotated[
        int, Query(ge=0, le=2**53, description="The same, for clients that cannot set headers.")
    ] = 0,
    job_id: Annotated[
        str | None, Query(pattern="^[0-9a-f]{32}$", description="An earlier job's events instead.")
    ] = None,
) -> Response:
    """Stream the events of the model's newest job as server-sent events, from the first or after
    ``Last-Event-ID``, until the job ends. The header Job-Id names the job; a client that reconnects
    sends it as ``job_id``, since the model may have a newer job by then."""
    job = newest(service.store, project, model_name)
    if job_id is not None:
        job = service.store.job(job_id)
        if (job.project, job.model_name) != (project, model_name):
            raise NoSuchJob(f"job {job_id} is not of {project}/{model_name}")
    return service.feed.stream(job.id, max(after, resume_at(last_event_id)))


@router.post("/cancel", status_code=202, responses=NOT_FOUND | CONFLICT)
def cancel(project: Name, model_name: Name, service: TheService) -> JobStatus:
    """Cancel the model's job: at once if it is queued, otherwise once its worker has finished or
    abandoned the current step. Steps already trained are kept."""
    job = service.store.request_cancel(newest(service.store, project, model_name).id)
    service.supervisor.wake()
    if job.status in (Status.SUCCEEDED, Status.FAILED):
        raise HTTPException(409, f"job {job.id} has ended: {job.status}")
    return status_of(job, service.store)


def newest(store: Store, project: str, model_name: str) -> Job:
    """Raises ``NoSuchJob`` if there is no such model."""
    job = store.newest(project, model_name)
    if job is None:
        raise NoSuchJob(f"there is no model {project}/{model_name}")
    return job


def status_of(job: Job, store: Store) -> JobStatus:
    last = store.last_event(job.id, "step")
    return JobStatus.model_validate(
        columns(job, JobStatus)
        | {
            "progress": min(1.0, job.step / job.num_steps),
            "queue_position": store.position(job),
            "cancelling": job.cancelling and not job.status.ended,
            "last_step": last.data if last else None,
            "last_event_id": store.last_event_id(job.id),
        }
    )


def columns(job: Job, form: type[BaseModel]) -> dict[str, Any]:
    """The fields of a response that are columns of ``jobs``."""
    return {n: v for n, v in asdict(job).items() if n in form.model_fields} | {"job_id": job.id}
