"""Logging of commands: our messages and libraries' errors on the console, everything in ``run.log``.

``--verbose`` shows everything on the console, too.
"""

from __future__ import annotations

import logging
from pathlib import Path

from environment.base import UserError
from training.run.signals import Interrupted

_OURS = frozenset(
    "agent backends deployment environment pipelines steps training web __main__".split()
)


def quiet_console() -> None:
    """Show our own messages without metadata, and only errors from libraries."""
    for handler in _consoles():
        handler.addFilter(_is_for_console)
        handler.setFormatter(_Plain())


def keep_log(folder: Path) -> None:
    """Log everything to ``run.log`` in the run's folder from now on. Tracebacks of user errors, which ZenML
    logs when a step fails, appear only there."""
    file = logging.FileHandler(folder / "run.log", encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for console in _consoles():
        console.addFilter(_without_traceback_of_user_errors)
    logging.getLogger().handlers.insert(0, file)


def _consoles() -> list[logging.Handler]:
    import zenml  # noqa: F401 (installs its handlers)

    return [h for h in logging.getLogger().handlers if not isinstance(h, logging.FileHandler)]


def _is_for_console(record: logging.LogRecord) -> bool:
    # A failed step ends the command, which reports the error itself.
    if record.name.startswith("zenml.orchestrators"):
        return False
    return record.name.partition(".")[0] in _OURS or record.levelno >= logging.ERROR


def _without_traceback_of_user_errors(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], (UserError, Interrupted)):
        record.exc_info = record.exc_text = None
    return True


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"
