"""Find out before a pipeline runs what would fail later."""

from __future__ import annotations

from collections.abc import Sequence

from backends.loading import load_tokenizer
from pipelines.config import ProjectConfig
from pipelines.placement import active_stack, check_steps, runs_here, steps_of
from pipelines.readiness import checks


def preflight(config: ProjectConfig, parts: Sequence[str]) -> None:
    """What a step on another machine needs is only to be had there, and is left out.

    Raises:
        ConfigError: a path of the data section, the stack or a step does not exist.
        BackendError: a GPU, a package or a key is missing, the base model cannot be loaded, or the
            backend cannot serve the adapters that an evaluation is of.
        LlmUnavailable: there is no key for a language model that is asked, or no price where its
            cost is bounded.
        UnknownPrice: there is a budget in dollars, and no price of what is used.
    """
    with active_stack(config.stack):
        check_steps(config)
        here = {s for part in parts for s in steps_of(config, part) if runs_here(config, s)}
    for run_check in checks(config, parts, here):
        run_check()
    if "train" in parts or "eval" in parts:
        load_tokenizer(config.backend.base_model)
