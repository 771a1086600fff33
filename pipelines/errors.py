"""The failures that are the user's to mend, and are told without a traceback."""

from __future__ import annotations

from agent.llm import LlmFailed, LlmUnavailable
from backends.errors import BackendError
from environment.base import EnvironmentUnavailable, WorldFailed
from environment.code.sources import ProblemError
from environment.email_search.scenarios import ScenarioError
from environment.email_search.sources import SourceError
from pipelines.pods import PodFailed
from steps.run_mirror import DamagedMirror
from training.budget import UnknownPrice
from training.loop import EmptySteps
from training.rescoring import RescoreError
from training.signals import Interrupted
from training.store import RunMismatch

USER_ERRORS = (
    BackendError,
    DamagedMirror,
    EmptySteps,
    EnvironmentUnavailable,
    LlmFailed,
    LlmUnavailable,
    RescoreError,
    PodFailed,
    ProblemError,
    RunMismatch,
    ScenarioError,
    SourceError,
    UnknownPrice,
    WorldFailed,
)

__all__ = ["USER_ERRORS", "Interrupted"]
