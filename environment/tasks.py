"""The environment of the training service's API, whose requests supply the scenarios and reward.

The service uses nothing else of that environment.
"""

from __future__ import annotations

from environment.prompt_task.examples import check_examples, different
from environment.prompt_task.models import Example
from environment.prompt_task.verifiers import VerifierName
from environment.prompt_task.writer import ExamplesReport, write_examples

TASK = "prompt_task"

__all__ = [
    "TASK",
    "Example",
    "ExamplesReport",
    "VerifierName",
    "check_examples",
    "different",
    "write_examples",
]
