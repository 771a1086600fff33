"""Find problems before a pipeline runs."""

from __future__ import annotations

from collections.abc import Sequence

from backends.chat_format import load_chat_format
from pipelines.config import ProjectConfig
from pipelines.placement import active_stack, check_steps, runs_here, steps_of
from pipelines.readiness import checks


def preflight(config: ProjectConfig, parts: Sequence[str]) -> None:
    """Check everything but the needs of steps on other machines, which cannot be checked here.

    Raises:
        ConfigError: a path in section data, the stack or a step does not exist.
        BackendError: a GPU, package or key is missing, the base model cannot be loaded, or the backend
            cannot serve adapters for the evaluation.
        LlmUnavailable: a language model has no key, or has a budget but no price.
        UnknownPrice: see there.
    """
    with active_stack(config.stack):
        check_steps(config)
        here = {s for part in parts for s in steps_of(config, part) if runs_here(config, s)}
    for run_check in checks(config, parts, here):
        run_check()
    if "train" in parts or "eval" in parts:
        load_chat_format(config.backend)
