"""A ZenML sandbox session over one of our sandboxes: Python programs, each from a fresh state.

It runs ``python -c CODE`` and ``python FILE`` with an uploaded file, and refuses everything else: there
is no shell, no other executable and no input. Every command starts from the uploaded files and leaves
nothing behind, so there is nothing to download.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import posixpath
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from zenml.sandboxes import BaseSandbox, SandboxExecError, SandboxProcess, SandboxSession

from environment.code.sandbox.base import Execution, Sandbox, SandboxError, Status

T = TypeVar("T")
# Python flags that are implied here, or have no effect on a program that runs once.
_FLAGS = frozenset({"-I", "-S", "-B", "-E", "-s", "-P", "-u"})
# As a shell reports commands that `timeout` or the kernel killed.
_EXIT_CODES = {Status.TIMEOUT: 124, Status.MEMORY: 137, Status.OUTPUT: 137, Status.FAILED: 1}
_CANNOT = "this sandbox runs `python -c CODE` and `python FILE` with an uploaded file, not {what}"
_SETTING = """\
def _set_up():
    import os, sys
    for name, data in {files!r}.items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(data)
    os.environ.update({env!r})
    sys.argv[:] = {argv!r}
    sys.path.insert(0, os.getcwd())
_set_up()
del _set_up
exec(compile({source!r}, {name!r}, "exec", dont_inherit=True))
"""


def program_of(
    command: str | Sequence[str], files: Mapping[str, bytes], env: Mapping[str, str]
) -> str:
    """A program that does what the command would do in a folder with these files.

    Raises:
        SandboxExecError: the command is not supported.
    """
    parts = shlex.split(command) if isinstance(command, str) else list(command)
    what = shlex.join(parts)
    if not parts or not posixpath.basename(parts[0]).startswith("python"):
        raise SandboxExecError(_CANNOT.format(what=repr(what)))
    rest = parts[1:]
    while rest and rest[0] in _FLAGS:
        rest = rest[1:]
    if len(rest) >= 2 and rest[0] == "-c":
        name, source, argv = "<string>", rest[1], ["-c", *rest[2:]]
    elif rest and not rest[0].startswith("-"):
        name, argv = posixpath.normpath(rest[0]), rest
        if name not in files:
            raise SandboxExecError(f"no file {rest[0]!r} was uploaded")
        source = files[name].decode(errors="replace")
    else:
        raise SandboxExecError(_CANNOT.format(what=repr(what)))
    if not files and not env and argv == ["-c"]:
        return source
    return _SETTING.format(files=dict(files), env=dict(env), argv=argv, source=source, name=name)


class ProgramProcess(SandboxProcess):
    """A program that runs or has run. Its output is available once it has ended."""

    def __init__(
        self, session: ProgramSession, running: concurrent.futures.Future[Execution]
    ) -> None:
        super().__init__(session=session, started_at=time.time())
        self._running = running

    def stdout(self) -> Iterator[str]:
        return self._session._wrap_stream(self._lines("stdout"), log_level=logging.INFO)

    def stderr(self) -> Iterator[str]:
        return self._session._wrap_stream(self._lines("stderr"), log_level=logging.ERROR)

    def _lines(self, name: str) -> Iterator[str]:
        execution = self._end()
        if execution is None:
            return
        yield from getattr(execution, name).splitlines(keepends=True)
        if name == "stderr" and execution.status not in (Status.OK, Status.FAILED):
            yield f"killed by the sandbox: {execution.status}\n"

    def wait(self, timeout: float | None = None) -> int:
        execution = self._end(timeout)
        return 137 if execution is None else _exit_code(execution)

    def _end(self, timeout: float | None = None) -> Execution | None:
        """The result; None if it was killed."""
        try:
            return self._running.result(timeout)
        except concurrent.futures.CancelledError:
            return None
        except SandboxError as error:
            raise SandboxExecError(str(error)) from error

    def kill(self) -> None:
        self._running.cancel()

    @property
    def exit_code(self) -> int | None:
        return self.wait() if self._running.done() else None


def _exit_code(execution: Execution) -> int:
    if execution.status is Status.OK:
        return 0
    code = execution.exit_code
    if code is None or execution.status is not Status.FAILED:
        return _EXIT_CODES[execution.status]
    return code if code > 0 else 128 - code


class ProgramSession(SandboxSession):
    """
    Args:
        open_sandbox: called on an event loop; the session closes the sandbox.
        env: environment variables of every command.
    """

    def __init__(
        self,
        open_sandbox: Callable[[], Coroutine[Any, Any, Sandbox]],
        env: Mapping[str, str],
        *,
        parent: BaseSandbox,
        destroy_on_exit: bool = False,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._sandbox = self._submit(open_sandbox()).result()
        except BaseException:
            self._stop_loop()
            raise
        self._env, self._files = dict(env), dict[str, bytes]()
        self._running: set[concurrent.futures.Future[Execution]] = set()
        flavor = parent.flavor
        super().__init__(
            id=f"{flavor}-{uuid.uuid4().hex[:12]}", parent=parent, destroy_on_exit=destroy_on_exit
        )

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _exec(
        self, command: str | list[str], *, cwd: str | None = None, env: dict[str, str] | None = None
    ) -> ProgramProcess:
        if cwd is not None:
            raise SandboxExecError(
                "cwd is not supported: every command of this sandbox runs in a new folder"
            )
        program = program_of(command, self._files, {**self._env, **(env or {})})
        self._log_command(command)
        running = self._submit(self._sandbox.run(program, {"session": self.id}))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return ProgramProcess(self, running)

    def _upload_file(self, local_path: str, remote_path: str) -> None:
        name = posixpath.normpath(remote_path)
        if posixpath.isabs(name) or name.startswith("..") or name == ".":
            raise ValueError(
                f"{remote_path!r} is outside the folder in which this sandbox runs commands"
            )
        self._files[name] = Path(local_path).read_bytes()

    def _download_file(self, remote_path: str, local_path: str) -> None:
        raise NotImplementedError(
            "commands of this sandbox leave no files behind; print the result instead"
        )

    def _close(self) -> None:
        for running in list(self._running):
            running.cancel()
        self._submit(self._sandbox.close()).result()
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _destroy(self) -> None:
        """``close`` does everything."""
