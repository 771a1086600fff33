"""Check requests in a separate process.

Checking imports the training libraries, which take ten times the memory of the rest of the service.
The process starts with the first request and exits when idle.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from service.redaction import log_to_stderr
from service.settings import ROOT, ServiceSettings

log = logging.getLogger(__name__)

_IDLE_S = 300.0
_PATIENCE_S = 180.0
_LOOK_EVERY_S = 0.5
_MODULE = "service.checker"


class CheckerFailed(RuntimeError):
    """The checking process died or timed out."""


class _Ended(CheckerFailed):
    """The checking process has exited."""


class Checker:
    """Sends the process one question at a time. Thread-safe."""

    def __init__(self, settings: ServiceSettings, environ: dict[str, str]) -> None:
        self._settings, self._environ = settings, environ
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[bytes, bytes] | None = None
        self._closed = False
        self.device: str | None = None

    def find_device(self) -> None:
        """Set ``device``: cpu, cuda or remote.

        Raises:
            CheckerFailed: the process failed.
        """
        self.device = self._ask({"ask": "device"})["device"]

    def check(self, request: dict[str, Any], previous: dict[str, Any] | None) -> dict[str, Any]:
        """``{"plan": …}`` of a request, or ``{"refusal": …}``; see ``service.plan``.

        Raises:
            CheckerFailed: the process failed.
        """
        return self._ask({"ask": "plan", "request": request, "previous": previous})

    def close(self) -> None:
        """Kill the process. Pending calls raise ``CheckerFailed``."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._stop()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                if self._process is not None and self._process.poll() is None:
                    try:
                        return self._exchange(question)
                    except (OSError, _Ended):
                        log.info("the checking process exited while idle")
                self._start()
                return self._exchange(question)
            except (OSError, CheckerFailed) as error:
                self._stop()
                raise CheckerFailed(f"the request could not be checked: {error}") from error

    def _exchange(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._pipe is not None
        self._pipe.send_bytes(json.dumps(question).encode())
        if not self._pipe.poll(_PATIENCE_S):
            raise CheckerFailed(f"no answer within {_PATIENCE_S:g} s")
        try:
            return dict(json.loads(self._pipe.recv_bytes()))
        except (EOFError, ConnectionResetError) as error:
            raise _Ended("the process exited; the log says why") from error

    def _start(self) -> None:
        self._stop()
        if self._closed:
            raise CheckerFailed("the service is shutting down")
        self._pipe, pipe = Pipe()
        with pipe:
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", _MODULE, str(os.getpid()), str(pipe.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # libraries print
                pass_fds=[pipe.fileno()],
                env=self._environ,
                cwd=ROOT,
            )
        self._pipe.send_bytes(self._settings.model_dump_json().encode())

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if self._pipe is not None:
            self._pipe.close()


def main() -> None:
    """The checking process: receives the settings, then answers questions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", type=int, help="id of the parent process; exits with it")
    parser.add_argument("pipe", type=int, help="file descriptor of the pipe to the service")
    arguments = parser.parse_args()
    threading.Thread(target=_end_with, args=(arguments.service,), daemon=True).start()
    pipe: Connection[bytes, bytes] = Connection(arguments.pipe)
    settings = ServiceSettings.model_validate_json(pipe.recv_bytes())
    log_to_stderr(settings.log_level)
    while pipe.poll(_IDLE_S):
        try:
            question = json.loads(pipe.recv_bytes())
        except (EOFError, ConnectionError):
            break  # the service is gone
        answer = json.dumps(_answer(question, settings)).encode()
        with suppress(ConnectionError):
            pipe.send_bytes(answer)
    os._exit(0)  # unloading the libraries would take seconds


def _answer(question: dict[str, Any], settings: ServiceSettings) -> dict[str, Any]:
    """Imports only what the question needs: every start of the service asks for the device."""
    if question["ask"] == "device":
        from backends import device

        return {"device": device(settings.backend)}
    from service.plan import answer

    return answer(question, settings)


def _end_with(service: int) -> None:
    """Exit with the service: a closed pipe is noticed only between questions."""
    while os.getppid() == service:
        time.sleep(_LOOK_EVERY_S)
    os._exit(0)


if __name__ == "__main__":
    main()
