"""The summary of a deployment at the end of a command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deployed:
    """A healthy deployment.

    Args:
        about: its ``/about``; None if this machine cannot reach it.
        example: a question to try.
    """

    name: str
    url: str
    key: str | None
    seconds: float
    about: dict[str, Any] | None
    example: dict[str, str]


def lines(deployed: Deployed) -> Iterator[str]:
    yield ""
    yield f"deployed    {deployed.name} at {deployed.url} after {deployed.seconds:.0f} s"
    if deployed.about:
        served = deployed.about["checkpoint"]
        mails = "those it was trained on"
        if served["mails"] != served["trained_on"]:
            mails = "newer ones than it was trained on"
        yield (
            f"serves      version {served['version']} of {served['model']}: step {served['step']} "
            f"of run {served['run']}; mails {served['mails']}, {mails}"
        )
    yield f"page        {deployed.url}/"
    yield f"logs        zenml deployment logs {deployed.name} -f"
    yield f"stop        zenml deployment deprovision {deployed.name}"
    yield ""
    yield curl(deployed)


def curl(deployed: Deployed) -> str:
    """A command that asks the deployment a question."""
    lines = [f"curl -X POST {deployed.url}/invoke", '-H "Content-Type: application/json"']
    if deployed.key:
        lines.append(f'-H "Authorization: Bearer {deployed.key}"')
    lines.append(f"-d {shlex.quote(json.dumps({'parameters': deployed.example}))}")
    return " \\\n  ".join(lines)
