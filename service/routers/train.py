"""Start a training job."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException
from fastapi.exceptions import RequestValidationError

from service.app import CONFLICT, Service, TheService
from service.routers.jobs import columns
from service.schemas import Accepted, Key, TrainRequest

router = APIRouter(tags=["training"])


@router.post("/train", status_code=202, responses=CONFLICT)
async def train(
    request: TrainRequest,
    service: TheService,
    idempotency_key: Annotated[Key | None, Header()] = None,
) -> Accepted:
    """Check a job and queue it. A job for an existing model continues its training, if the request
    differs in nothing but a larger ``num_steps``."""
    key = _one_key(idempotency_key, request.idempotency_key)
    # Its own thread limit: slow checks must not exhaust the threads that all routes share.
    return await to_thread.run_sync(_submit, request, key, service, limiter=service.checking)


def _submit(request: TrainRequest, key: str | None, service: Service) -> Accepted:
    fields = request.model_dump(mode="json", exclude={"idempotency_key"})
    store = service.store
    # A repeated request gets the first one's answer, whatever has changed since.
    earlier = store.by_key(key)
    if earlier is None:
        last = store.newest(request.project, request.model_name)
        if last and last.status.ended and last.step > request.num_steps:
            done = f"the model has made {last.step} steps, which num_steps includes"
            raise HTTPException(409, f"{done}: request more, or delete the model to start over")
        previous = store.plan(last.id) if last and last.status.ended else None
        checked = service.checker.check(fields, previous)
        if "refusal" in checked:
            _refuse(checked["refusal"])
        plan = checked["plan"]
    else:
        plan = store.plan(earlier.id)
    job, created = store.submit(fields, plan, key, service.settings.queue_limit)
    service.supervisor.wake()
    return Accepted.model_validate(columns(job, Accepted) | {"created": created})


def _one_key(header: str | None, body: str | None) -> str | None:
    if header and body and header != body:
        raise _fault(["header", "Idempotency-Key"], "differs from idempotency_key in the body")
    return header or body


def _refuse(refusal: dict[str, object]) -> None:
    if refusal["loc"]:
        raise _fault(refusal["loc"], str(refusal["msg"]))
    raise HTTPException(int(str(refusal["status"])), str(refusal["msg"]))


def _fault(loc: object, msg: str) -> RequestValidationError:
    return RequestValidationError([{"loc": loc, "msg": msg, "type": "value_error"}])
