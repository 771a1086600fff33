"""Talks to the supervisor in a container: the command that starts it, and its report."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

from environment.code.sandbox.base import Execution, Limits, SandboxError, Status

# Modal accepts 64 KiB of arguments, Kubernetes what fits in a URL and one shell argument.
MAX_COMMAND_BYTES = 48 * 1024
PROBE = ("python", "-I", "-S", "-c", "print('alive')")
_START = (
    "import sys,zlib,json,base64;"
    "source,job=(zlib.decompress(base64.urlsafe_b64decode(a)) for a in sys.argv[1:]);"
    "names={};exec(source,names);names['report'](json.loads(job))"
)
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


def command(program: str, limits: Limits) -> tuple[str, ...] | None:
    """The command to run in the container, as arguments without shell metacharacters.

    Returns:
        None if the program is too long: over 48 KiB, compressed.
    """
    job = json.dumps({"program": program, **limits.model_dump()})
    parts = (_packed(_SUPERVISOR.read_bytes()), _packed(job.encode()))
    if sum(map(len, parts)) > MAX_COMMAND_BYTES:
        return None
    return ("python", "-I", "-S", "-c", _START, *parts)


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode()


def report_in(stdout: str) -> Execution | None:
    """The supervisor's report in the command's output, without timing, or None.

    Raises:
        SandboxError: the supervisor could not start the program.
    """
    for line in reversed(stdout.splitlines()):
        if not line.startswith("{"):
            continue
        try:
            report = json.loads(line)
            if "error" in report:
                raise SandboxError(f"the program could not be started: {report['error']}")
            return Execution(
                Status(report["status"]),
                report["exit_code"],
                _text(report["stdout"]),
                _text(report["stderr"]),
            )
        except (ValueError, KeyError, TypeError):
            continue  # truncated, or not a report
    return None


def _text(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode(errors="replace")
