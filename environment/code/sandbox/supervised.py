"""The two ends of the supervisor's wire: the command that starts it, and the report it writes."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from environment.code.sandbox.base import Limits, SandboxError, Status

# Modal takes 64 KiB of arguments, Kubernetes what fits into a URL and one argument of a shell.
MAX_COMMAND_BYTES = 48 * 1024
PROBE = ("python", "-I", "-S", "-c", "print('alive')")
_START = (
    "import sys,zlib,json,base64;"
    "source,job=(zlib.decompress(base64.urlsafe_b64decode(a)) for a in sys.argv[1:]);"
    "names={};exec(source,names);names['report'](json.loads(job))"
)
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


@dataclass(frozen=True, slots=True)
class Report:
    """How a program in a container ended, and what it wrote."""

    status: Status
    exit_code: int | None
    stdout: str
    stderr: str


def command(program: str, limits: Limits) -> tuple[str, ...] | None:
    """What to run in the container, as separate arguments of letters that no shell touches.

    Returns:
        None if the program is too long for one: over 48 KiB, compressed.
    """
    job = json.dumps({"program": program, **limits.model_dump()})
    parts = (_packed(_SUPERVISOR.read_bytes()), _packed(job.encode()))
    if sum(map(len, parts)) > MAX_COMMAND_BYTES:
        return None
    return ("python", "-I", "-S", "-c", _START, *parts)


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode()


def report_in(stdout: str) -> Report | None:
    """The report in what the command wrote.

    Returns:
        None if there is none.

    Raises:
        SandboxError: the supervisor could not start the program.
    """
    for line in reversed(stdout.splitlines()):
        if not line.startswith("{"):
            continue
        try:
            told = json.loads(line)
            if "error" in told:
                raise SandboxError(f"the program could not be started: {told['error']}")
            return Report(
                Status(told["status"]),
                told["exit_code"],
                _text(told["stdout"]),
                _text(told["stderr"]),
            )
        except (ValueError, KeyError, TypeError):
            continue  # cut off, or not ours
    return None


def _text(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode(errors="replace")
