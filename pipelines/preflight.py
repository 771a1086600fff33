"""Find out before a pipeline runs what would fail later."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipelines.config import ConfigError, ProjectConfig
from pipelines.placement import GPU_STEPS, active_stack, check_steps, runs_here


def preflight(config: ProjectConfig, pipelines: Sequence[str]) -> None:
    """What a step on another machine needs is only to be had there, and is left out.

    Raises:
        ConfigError: a path of the data section, the stack or a step does not exist.
        BackendError: a GPU, a package or a key is missing, or the base model cannot be loaded.
        JudgeUnavailable: there is no key for the judge, or no price where its cost is bounded.
        LlmUnavailable: there is no key for the writer of scenarios or for a hosted model, or no
            price where its cost is bounded.
        UnknownPrice: there is a budget in dollars, and no price of what is used.
    """
    if "data" in pipelines:
        for key in ("path", "scenarios_path"):
            path = getattr(config.data, key, None)
            if path is not None and not path.exists():
                raise ConfigError(f"data.{key}: there is no {path}")
        if getattr(config.data, "llm_writes", False):
            from agent.scenario_writer import check_writer

            check_writer(config.scenario_writer)
    with active_stack(config.stack):
        check_steps(config)
        here = {p for p in pipelines if p in GPU_STEPS and runs_here(config, GPU_STEPS[p])}
        judges = here | {p for p in pipelines if p == "eval" and runs_here(config, "judge_answers")}
    if "train" in pipelines or "eval" in pipelines:
        from backends import check, check_serves_adapters
        from backends.embedded.policy import load_tokenizer
        from pipelines.readiness import requested_gpus
        from training.budget import check_prices

        if here:
            check(config.backend)
        if "eval" in pipelines:
            check_serves_adapters(config.backend)
        if "train" in pipelines:
            check_prices(config.training.budget, config.backend, requested_gpus(config))
        load_tokenizer(config.backend.base_model)
    if "eval" in here and config.evaluation.hosted:
        from training.hosted import check_hosted

        check_hosted(config.evaluation)
    check_judge_if_asked(config, judges)


def check_judge_if_asked(config: ProjectConfig, pipelines: Collection[str]) -> None:
    """
    Raises:
        JudgeUnavailable: there is no key for the judge, or no price where its cost is bounded.
    """
    trains = "train" in pipelines and config.training.reward == "ruler"
    if trains or ("eval" in pipelines and config.evaluation.correctness != "match"):
        from agent.judge import check_judge
        from pipelines.readiness import judge_within

        check_judge(judge_within(config) if trains else config.judge)
