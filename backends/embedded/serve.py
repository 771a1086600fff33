"""A process of its own that serves one adapter: ``python -m backends.embedded.serve``.

Apart from the process that answers people, so that sampling and everything around it do not wait
for each other's interpreter lock. It reads its settings as one line of JSON on stdin, writes its
port as one line on stdout when it is ready, and ends when stdin is closed: however its parent
ends, it does not stay behind.
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
from backends.listener import KEEP_ALIVE_S, run_server
from backends.openai_server import create_app

_LOOPBACK = "127.0.0.1"


def main() -> None:
    # A Ctrl-C goes to the whole group; the parent decides when requests in flight are done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for the report
    settings = json.loads(sys.stdin.readline())
    try:
        app = _app(settings)
    except BackendError as error:
        _say(report, {"error": str(error)})
        raise SystemExit(1) from error
    with socket.create_server((_LOOPBACK, 0)) as listener:
        _say(report, {"port": listener.getsockname()[1]})
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE_S
        )
        run_server(_Server(config), [listener])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them as they are: uvicorn would put its own handlers over ours."""
        yield


def _app(settings: dict[str, Any]) -> Any:
    config = BackendConfig.model_validate(settings["backend"])
    # One core is left to the process that asks.
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
