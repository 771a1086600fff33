"""Check requests in a separate process.

Checking imports the training libraries, which take ten times the memory of the rest of the service.
The process starts with the first request and exits when idle.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
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


class _Lines:
    """Reads lines from a pipe with a timeout."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest = descriptor, bytearray()

    def next(self, patience_s: float) -> bytes | None:
        """The next line; None at the end of the stream.

        Raises:
            TimeoutError: no whole line arrived in time.
        """
        deadline = time.monotonic() + patience_s
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._descriptor], [], [], left)[0]:
                raise TimeoutError
            piece = os.read(self._descriptor, 1 << 16)
            if not piece:
                return None
            self._rest += piece
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line


class Checker:
    """Sends the process one question at a time. Thread-safe."""

    def __init__(self, settings: ServiceSettings, environ: dict[str, str]) -> None:
        self._settings, self._environ = settings, environ
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: _Lines | None = None
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
        self._send(question)
        assert self._lines is not None
        try:
            line = self._lines.next(_PATIENCE_S)
        except TimeoutError as error:
            raise CheckerFailed(f"no answer within {_PATIENCE_S:g} s") from error
        if line is None:
            raise _Ended("the process exited; the log says why")
        return dict(json.loads(line))

    def _start(self) -> None:
        self._stop()
        if self._closed:
            raise CheckerFailed("the service is shutting down")
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-m", _MODULE, "--service", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environ,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self._lines = _Lines(self._process.stdout.fileno())
        self._send(self._settings.model_dump(mode="json"))

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


def main() -> None:
    """The checking process: reads settings from the first line, then answers one question per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--service", type=int, required=True, help="id of the parent process; exits with it"
    )
    service = parser.parse_args().service
    # Libraries print to stdout; keep their output out of the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lines = _Lines(0)
    threading.Thread(target=_end_with, args=(service,), daemon=True).start()
    settings = ServiceSettings.model_validate_json(lines.next(_PATIENCE_S) or b"")
    log_to_stderr(settings.log_level)
    try:
        while line := lines.next(_IDLE_S):
            answers.write(json.dumps(_answer(json.loads(line), settings)).encode() + b"\n")
    except TimeoutError:
        log.debug("the checking process exits: idle")
    except BrokenPipeError:
        log.debug("the service is gone")
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
