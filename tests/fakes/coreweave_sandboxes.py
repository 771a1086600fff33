"""CoreWeave's sandbox service on loopback, in gRPC as its package speaks it.

A sandbox is a ``FakeContainer``: what is executed in it runs here, as a process. It needs the
package ``cwsandbox``, whose protocol it speaks.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
from cwsandbox._proto import sandbox_pb2 as pb
from cwsandbox._proto import sandbox_pb2_grpc

from tests.fakes.docker_sandboxes import FakeContainer, python_for_anyone

OUTPUTS = {1: pb.ExecStreamOutput.STREAM_STDOUT, 2: pb.ExecStreamOutput.STREAM_STDERR}


class CoreWeaveSandboxes(sandbox_pb2_grpc.SandboxServiceServicer):
    """Use as a context manager.

    Attributes:
        created: every sandbox there was, as it was asked for.
        containers: those that run, by id.
        keys: the metadata of every request for a sandbox.
        refuses: answer a request for a sandbox with RESOURCE_EXHAUSTED.
        never_runs: the next sandboxes fail while they are made.
        loses: end the next command's stream as a lost connection does.
    """

    def __init__(self) -> None:
        self.created: list[Any] = []
        self.containers: dict[str, FakeContainer] = {}
        self.specs: dict[str, Any] = {}
        self.failed: set[str] = set()
        self.keys: list[dict[str, str]] = []
        self.refuses = self.never_runs = self.loses = False
        self.executed = threading.Event()
        self._python = python_for_anyone()
        self._server = grpc.server(ThreadPoolExecutor(32))
        sandbox_pb2_grpc.add_SandboxServiceServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def address(self) -> str:
        """For ``CWSANDBOX_BASE_URL``."""
        return f"http://127.0.0.1:{self._port}"

    def CreateSandbox(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.keys.append(dict(context.invocation_metadata()))
        if self.refuses:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no capacity")
        name, folder = f"sb-{uuid.uuid4().hex[:8]}", Path(tempfile.mkdtemp(prefix="container-"))
        folder.chmod(0o755)
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(self._python)
        self.created.append(request.sandbox.spec)
        self.specs[name] = request.sandbox.spec
        container = FakeContainer(name, {}, folder)
        if self.never_runs:
            self.failed.add(name)
            container.remove()
        else:
            self.containers[name] = container
        return self._shown(name)

    def GetSandbox(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        if request.sandbox_id not in self.specs:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such sandbox")
        return self._shown(request.sandbox_id)

    def DeleteSandbox(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        container = self.containers.pop(request.sandbox_id, None)
        if container:
            container.remove()
        return pb.DeleteSandboxResponse(sandbox=self._shown(request.sandbox_id))

    def _shown(self, name: str) -> Any:
        state = pb.STATE_RUNNING if name in self.containers else pb.STATE_TERMINATED
        if name in self.failed:
            state = pb.STATE_FAILED
        status = pb.SandboxStatus(state=state, state_reason="image not found")
        return pb.Sandbox(sandbox_id=name, spec=self.specs[name], status=status)

    def WriteFile(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        path = self.containers[request.sandbox_id].folder / request.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.content)
        return pb.WriteFileResponse()

    def ReadFile(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        path = self.containers[request.sandbox_id].folder / request.path.lstrip("/")
        if not path.exists():
            context.abort(grpc.StatusCode.NOT_FOUND, f"no such file: {request.path}")
        return pb.ReadFileResponse(content=path.read_bytes())

    def StreamExec(  # noqa: N802
        self, requests: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        start = next(requests).init
        container = self.containers.get(start.sandbox_id)
        if container is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such sandbox")
            return
        if self.loses:
            context.abort(grpc.StatusCode.DATA_LOSS, "the runner is gone")
        try:
            process = container.start(list(start.command))
        except OSError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            return
        self.executed.set()
        yield pb.ExecStreamResponse(ready=pb.ExecStreamReady())
        said: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        for number, stream in ((1, process.stdout), (2, process.stderr)):
            threading.Thread(target=_read, args=(number, stream, said), daemon=True).start()
        open_streams = 2
        while open_streams:
            number, data = said.get()
            if not data:
                open_streams -= 1
                continue
            output = pb.ExecStreamOutput(stream=OUTPUTS[number], data=data)
            yield pb.ExecStreamResponse(output=output)
        code = process.wait()
        ended = pb.ExecStreamExit(exit_code=code if code >= 0 else 128 - code)
        yield pb.ExecStreamResponse(exit=ended)

    def stop(self) -> None:
        """The service goes, its containers stay."""
        self._server.stop(None).wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.containers.values():
            container.remove()
        self.stop()


def _read(number: int, stream: Any, said: queue.SimpleQueue[tuple[int, bytes]]) -> None:
    while data := os.read(stream.fileno(), 65536):
        said.put((number, data))
    stream.close()
    said.put((number, b""))
