"""A process that serves one adapter: ``python -m backends.embedded.serve``.

Separate from the deployment's process, so that the two do not contend for the GIL. Reads its
settings as one line of JSON from stdin, writes its port as one line to stdout when ready, and exits
when stdin closes, so it never outlives its parent.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn

from backends.config import BackendConfig
from backends.embedded.engine import Engine
from backends.embedded.policy import Policy
from backends.errors import BackendError
from backends.listener import run_server, server_config
from backends.openai_server import create_app

_LOOPBACK = "127.0.0.1"


def main() -> None:
    # Ctrl-C reaches the whole process group; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep libraries' prints apart from the report
    settings = json.loads(sys.stdin.readline())
    try:
        app = _app(settings)
    except BackendError as error:
        _say(report, {"error": str(error)})
        raise SystemExit(1) from error
    with socket.create_server((_LOOPBACK, 0)) as listener:
        _say(report, {"port": listener.getsockname()[1]})
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        run_server(_Server(server_config(app)), [listener])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Keep our own signal handlers."""
        yield


def _app(settings: dict[str, Any]) -> Any:
    config = BackendConfig.model_validate(settings["backend"])
    # Leave one core to the parent.
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 2) - 1))
    engine = Engine(Policy(config, Path(settings["model_dir"])))
    return create_app(engine, settings["name"], api_key=settings["api_key"])


def _say(report: Any, message: dict[str, Any]) -> None:
    report.write(json.dumps(message) + "\n")
    report.flush()


def _end_with_stdin() -> None:
    while sys.stdin.readline():
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
