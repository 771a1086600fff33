"""What can end a training that is its user's to mend: told without a traceback, wherever it runs."""

from __future__ import annotations

from backends.errors import BackendError
from environment.base import EnvironmentUnavailable, WorldFailed
from environment.code.sources import ProblemError
from environment.email_search.scenarios import ScenarioError
from environment.email_search.sources import SourceError
from environment.language_model import LlmFailed, LlmUnavailable
from training.loop.loop import EmptySteps
from training.run.budget import UnknownPrice
from training.run.store import RunMismatch

RUN_ERRORS = (
    BackendError,
    EmptySteps,
    EnvironmentUnavailable,
    LlmFailed,
    LlmUnavailable,
    ProblemError,
    RunMismatch,
    ScenarioError,
    SourceError,
    UnknownPrice,
    WorldFailed,
)
