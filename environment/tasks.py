"""The environment whose scenarios and reward a request brings itself: a task stated in words.

The training service's API is about such tasks; it knows the environment by these names alone.
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
