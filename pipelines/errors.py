"""The failures that are the user's to mend, and are told without a traceback."""

from __future__ import annotations

from pipelines.pods import PodFailed
from steps.run_mirror import DamagedMirror
from training.errors import RUN_ERRORS
from training.evaluation.rescoring import RescoreError
from training.run.signals import Interrupted

USER_ERRORS = (*RUN_ERRORS, DamagedMirror, PodFailed, RescoreError)

__all__ = ["USER_ERRORS", "Interrupted"]
