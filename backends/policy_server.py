"""Serves a trained adapter, without the parts that only training needs.

served = serve_adapter(config, adapter, workspace)
served.endpoint, served.name     # for an OpenAI client
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from backends import (
    BackendConfig,
    BackendError,
    Endpoint,
    check,
    check_serves_adapters,
    install_adapter,
    open_policy,
)

_NAME, _PROJECT, _STEP = "agent", "serving", 1
_ROOT = Path(__file__).parents[1]


class ServedPolicy(ABC):
    """A policy behind an OpenAI-compatible endpoint.

    Attributes:
        name: the model name to request.
    """

    endpoint: Endpoint
    name: str

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it is still serving."""

    @abstractmethod
    def close(self) -> None: ...


def serve_adapter(config: BackendConfig, adapter: Path, workspace: Path) -> ServedPolicy:
    """
    Args:
        workspace: an empty folder.

    Raises:
        BackendError: the backend cannot run as configured.
    """
    if config.kind == "embedded":
        return _EmbeddedProcess(config, adapter, workspace)
    check(config)
    check_serves_adapters(config)
    return _ThroughArt(config, adapter, workspace)


class _EmbeddedProcess(ServedPolicy):
    """The embedded engine in a child process; see ``backends.embedded.serve``."""

    def __init__(self, config: BackendConfig, adapter: Path, workspace: Path) -> None:
        model_dir = install_adapter(adapter, workspace, _PROJECT, _NAME)
        key = secrets.token_urlsafe(24)
        settings = {
            "backend": config.model_dump(mode="json"),
            "model_dir": str(model_dir.absolute()),
            "name": _NAME,
            "api_key": key,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backends.embedded.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(settings) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its report, or the lack of one, is handled below
        report = self._process.stdout.readline()
        answer = json.loads(report) if report else {"error": "its log says why"}
        if "error" in answer:
            self.close()
            raise BackendError(f"the policy could not be served: {answer['error']}")
        self.endpoint = Endpoint(f"http://127.0.0.1:{answer['port']}/v1", key)
        self.name = f"{_NAME}@{_STEP}"

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        if self._process.stdin.closed:
            return
        # It may have ended before reading its settings.
        with self._process.stdout, self._process, contextlib.suppress(BrokenPipeError):
            # Closing stdin ends the process; leaving the block waits for it.
            self._process.stdin.close()


class _ThroughArt(ServedPolicy):
    """ART's own server (vLLM), driven from an event loop in a thread."""

    def __init__(self, config: BackendConfig, adapter: Path, workspace: Path) -> None:
        install_adapter(adapter, workspace, _PROJECT, _NAME)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="policy", daemon=True)
        self._thread.start()
        opening = open_policy(config, project=_PROJECT, name=_NAME, path=workspace)
        try:
            self._policy = self._run(opening)
        except BaseException:
            self._stop_loop()
            raise
        self.endpoint = self._policy.endpoint
        self.name = self._policy.inference_name(_STEP)

    @property
    def alive(self) -> bool:
        return True  # ART cannot tell; failing requests will

    def close(self) -> None:
        try:
            self._run(self._policy.close())
        finally:
            self._stop_loop()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
