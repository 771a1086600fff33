"""Many clients on one job, heartbeats, reconnects: what a stream promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.client import AsyncServiceClient, ServiceError
from service.states import Status
from service.store import Store

from .conftest import PATIENCE_S, Service, occupied, until

CLIENTS = 200
EVENTS = 500
MOST_MIB = 500


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Service, Store, str]]:
    """A service with a running job whose events the test tells."""
    with occupied(tmp_path) as job:
        service = Service(tmp_path, {"streams": CLIENTS}).start()
        store = service.store()
        yield service, store, job
        store.close()
        service.close()


async def read(client: AsyncServiceClient, seen: list[int]) -> None:
    async for event in client.stream("default", "busy"):
        seen.append(event.id)  # noqa: PERF401 (the test looks while it grows)


async def test_two_hundred_clients_see_every_event_in_order(
    busy: tuple[Service, Store, str],
) -> None:
    service, store, job = busy
    seen: list[list[int]] = [[] for _ in range(CLIENTS)]
    async with AsyncServiceClient(service.url) as client:
        readers = [asyncio.create_task(read(client, ids)) for ids in seen]
        while not all(seen):  # noqa: ASYNC110 (others fill it)
            await asyncio.sleep(0.05)
        with pytest.raises(ServiceError, match="200 streams are open already") as refused:
            await read(client, [])
        assert refused.value.status == 503
        for n in range(EVENTS):
            await asyncio.to_thread(store.add_event, job, "warning", {"message": "m" * n})
        store.end(job, Status.SUCCEEDED, result=None)
        await asyncio.gather(*readers)
    last = store.last_event_id(job)
    assert last == EVENTS + 3
    assert all(ids == list(range(1, last + 1)) for ids in seen)
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    peak_kib = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))
    assert peak_kib < MOST_MIB * 1024
    until(lambda: "art_service_streams 0.0\n" in service.client.metrics())


def test_a_silent_stream_has_a_heartbeat_and_starts_where_it_is_told(
    busy: tuple[Service, Store, str],
) -> None:
    service, store, job = busy
    store.add_event(job, "warning", {"message": "one\ntwo ünï"})
    path = "/train/default/busy/stream"
    with httpx.stream(
        "GET", f"{service.url}{path}", headers={"Last-Event-ID": "2"}, timeout=20
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        first = [next(lines) for _ in range(3)]
        assert first[:2] == ["id: 3", "event: warning"]
        assert "one\\ntwo" in first[2]
        assert next(lines) == ""
        assert next(lines) == ": still at work"
    with httpx.stream("GET", f"{service.url}{path}?after=1", timeout=20) as response:
        assert next(response.iter_lines()) == "id: 2"
    for nonsense in ("-1", "x", "", "9" * 400, "¹"):
        headers = {"Last-Event-ID": nonsense.encode()}
        with httpx.stream("GET", f"{service.url}{path}", headers=headers, timeout=20) as response:
            assert next(response.iter_lines()) == "id: 1"


def test_a_deleted_job_ends_its_stream(busy: tuple[Service, Store, str]) -> None:
    service, _, _ = busy
    with httpx.stream("GET", f"{service.url}/train/default/busy/stream", timeout=20) as response:
        lines = response.iter_lines()
        while next(lines) != "id: 2":
            pass
        service.client.delete("default", "busy")
        rest = [line for line in lines if line and not line.startswith(":")]
    assert rest[-2:] == ["event: deleted", "data: {}"]
    with pytest.raises(ServiceError, match="no model"):
        list(service.client.stream("default", "busy"))


async def test_sigterm_ends_streams_between_two_events_and_a_client_goes_on_with_the_next(
    busy: tuple[Service, Store, str],
) -> None:
    service, store, job = busy
    assert service.process is not None
    seen: list[int] = []
    async with AsyncServiceClient(service.url) as client, httpx.AsyncClient(timeout=20) as http:
        reader = asyncio.create_task(read(client, seen))
        urls = [f"{service.url}/train/default/busy/stream"] * 20
        silent = [asyncio.create_task(http.get(url)) for url in urls]
        await asyncio.to_thread(
            until, lambda: f"art_service_streams {len(silent) + 1}.0" in service.client.metrics()
        )
        terminated_at = time.monotonic()
        service.process.terminate()
        # Cut off, each would be a RemoteProtocolError.
        ended = await asyncio.gather(*silent)
        assert time.monotonic() - terminated_at < 4
        assert {response.text.count("id: ") for response in ended} == {2}
        await asyncio.to_thread(service.process.wait, PATIENCE_S)
        await asyncio.to_thread(service.start)
        store.end(job, Status.SUCCEEDED, result=None)
        await reader
    assert seen == list(range(1, store.last_event_id(job) + 1))
    assert "ERROR" not in service.log.read_text()
