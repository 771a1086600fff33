"""Run the training service: ``python -m service``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from backends.listener import run_server
from service.app import create_app
from service.folders import Folders
from service.locks import LockHeld, holding
from service.redaction import log_to_stderr
from service.settings import CONFIG, DOTENV, ConfigError, ServiceSettings, load_settings

_LOCK_PATIENCE_S = 5.0
_STREAMS_END_S = 5
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they close first


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG, help="a YAML file")
    parser.add_argument(
        "--env-file",
        type=Path,
        default=DOTENV,
        help="environment variables, one NAME=value per line",
    )
    arguments = parser.parse_args()
    try:
        settings = load_settings(arguments.config, arguments.env_file)
    except ConfigError as error:
        parser.error(str(error))
    log_to_stderr(settings.log_level)
    os.umask(0o077)  # prompts, answers and weights are private
    try:
        with holding(Folders(settings.data).service_lock, _LOCK_PATIENCE_S):
            serve(settings)
    except LockHeld:
        parser.error(f"another training service uses {settings.data}: set ART_PATH")
    return 0


def serve(settings: ServiceSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=_STREAMS_END_S,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    run_server(uvicorn.Server(config))


if __name__ == "__main__":
    sys.exit(main())
