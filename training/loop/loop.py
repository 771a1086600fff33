"""The training loop: sample scenarios, roll out groups, score, account, train, log, checkpoint.

It is synchronous, hence on-policy, and a run killed at any moment continues as if it had not been.
``art.pipeline_trainer.PipelineTrainer`` instead overlaps rollouts and training, refuses backends that
sample and train in one place, and stores its position in the scenarios beside the checkpoint instead
of deriving it from the step, so that a kill in between repeats or skips scenarios.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from agent.judge import RulerJudge
from agent.model import ChatModel
from agent.rollout import NOT_THE_AGENTS_FAULT, Rollout
from backends import PolicyHandle
from environment.base import Environment, Scenario, UserError
from environment.language_model import LlmBudgetSpent
from training.config import RolloutConfig, TrainingConfig
from training.evaluation.statistics import means
from training.loop.accounting import StepAccount, account
from training.loop.explain import Mismatch, mismatch, warn_of_judge, why_empty
from training.loop.gather import chat_model, gather_groups, limits
from training.loop.judging import JUDGE_COST, judge_groups
from training.loop.schedule import scenarios_of_step
from training.run.budget import Budget, Meter
from training.run.run_log import STEP, Record, RunLog
from training.run.signals import Interrupted, stop_on_signals, unless

log = logging.getLogger(__name__)


class EmptySteps(UserError):
    """Several consecutive steps had nothing to train on."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The arguments of ``train_policy``.

    Args:
        seed: determines scenarios and sampling.
        on_step: called with each record, those of earlier attempts first.
        on_groups: called with each step's scored rollouts.
        on_done: called with each step once its checkpoint and record are on disk.
        evaluate: metrics to add to every ``eval_every``-th record.
        judge: replaces the environment's own reward.
        meter: tracks the budget; by default one that starts with the loop.
    """

    policy: PolicyHandle
    environment: Environment[Any, Any]
    config: TrainingConfig
    rollout: RolloutConfig
    seed: int
    folder: Path
    run_log: RunLog
    on_step: Callable[[Record], None] = lambda record: None
    on_groups: Callable[[int, list[list[Rollout]]], None] = lambda step, groups: None
    on_done: Callable[[int], None] = lambda step: None
    evaluate: Callable[[], Awaitable[Record]] | None = None
    judge: RulerJudge | None = None
    meter: Meter | None = None


@dataclass(slots=True)
class TrainingResult:
    """How a run ended, over all its attempts.

    Args:
        stopped_by: ``max_steps``, the budget that ran out, ``judge_budget`` (``judge.max_cost_usd``), or
            ``converged``: after it had trained, all groups had equal rewards for
            ``empty_steps_limit`` consecutive steps.
        spent: amount used of each budget.
    """

    step: int
    records: list[Record] = field(default_factory=list)
    stopped_by: Literal["max_steps", "judge_budget", "converged"] | Budget = "max_steps"
    spent: dict[Budget, float] = field(default_factory=dict)


async def train_policy(run: TrainingRun) -> TrainingResult:
    """Start or continue the run in ``folder``, until ``max_steps``, a spent budget, convergence or a
    signal.

    Raises:
        Mismatch: sampler and trainer disagree, in this attempt or an earlier one.
        EmptySteps: too many consecutive steps, or all of them, had nothing to train on.
        Interrupted: by SIGTERM or SIGINT; the same call continues the run.
        ValueError: the environment has no training scenario.
    """
    scenarios = run.environment.scenarios("train", run.config.train_scenarios, run.seed)
    start = await run.policy.step()
    result = TrainingResult(start, run.run_log.recover(start, run.policy.trainer_metrics(start)))
    for record in result.records:
        run.on_step(record)
        _check_agreement(run.config, record)
    if run.judge:
        run.judge.llm.usage.cost_usd += sum(r.get(JUDGE_COST, 0.0) for r in result.records)
    empty, limit = 0, run.config.empty_steps_limit
    meter = run.meter or Meter(run.config.budget, run.policy.gpus, run.folder)
    model = chat_model(run.policy, run.environment, run.rollout, start, temperature=1.0)
    try:
        with stop_on_signals() as stop:
            for step in range(start, run.config.max_steps):
                if _converged(result.records, limit):
                    log.info("converged: all groups had equal rewards in the last %d steps", limit)
                    result.stopped_by = "converged"
                    break
                if used_up := meter.used_up():
                    log.info("training.budget.%s is used up after step %d", used_up, step)
                    result.stopped_by = used_up
                    break
                try:
                    record = await _one_step(run, model, scenarios, step, stop, meter)
                except LlmBudgetSpent as spent:
                    log.info("stopped after step %d: %s", step, spent)
                    result.stopped_by = "judge_budget"
                    break
                result.step = step + 1
                result.records.append(record)
                run.on_step(record)
                warn_of_judge(result.records, last=step + 1 == run.config.max_steps)
                await asyncio.to_thread(run.on_done, step + 1)
                _check_agreement(run.config, record)
                empty = 0 if record["data/step_num_groups_trainable"] else empty + 1
                if empty >= limit and not _converged(result.records, limit):
                    raise EmptySteps(why_empty(result.records[-empty:]))
                if stop.is_set():
                    raise Interrupted(_interrupted(step + 1))
    finally:
        meter.tick()
        await model.close()
    result.spent = meter.spent()
    if result.records and not any(r["data/step_trained_trajectories"] for r in result.records):
        raise EmptySteps(why_empty(result.records))
    return result


def _check_agreement(config: TrainingConfig, record: Record) -> None:
    """Raises ``Mismatch`` if sampler and trainer disagree, or warns of it."""
    text = mismatch(record, config.min_probs_corr)
    if text and config.on_mismatch == "stop":
        raise Mismatch(text)
    if text:
        log.warning("%s", text)


def _converged(records: Sequence[Record], limit: int) -> bool:
    """Whether the last ``limit`` steps were empty only because of equal rewards, after steps that were
    not empty. A policy that never trained has not converged: its task is too hard or too easy."""
    last = records[-limit:]
    return any(record["data/step_num_groups_trainable"] for record in records[:-limit]) and all(
        record["data/dropped"].keys() == {"zero_variance"}
        and not record["data/step_num_groups_trainable"]
        for record in last
    )


def _interrupted(step: int) -> str:
    return f"stopped after step {step}; run the same command again to continue"


async def _one_step(
    run: TrainingRun,
    model: ChatModel,
    scenarios: Sequence[Scenario],
    step: int,
    stop: asyncio.Event,
    meter: Meter,
) -> Record:
    """Roll out, train, log. ``stop`` abandons rollouts, but not the training step."""
    config, started = run.config, time.monotonic()
    chosen = scenarios_of_step(scenarios, step, config.groups_per_step, run.seed)
    model.name = run.policy.inference_name(step)
    rollouts = gather_groups(
        model,
        run.environment,
        chosen,
        limits(run.rollout),
        size=config.rollouts_per_group,
        concurrency=run.rollout.concurrency,
        seed=run.seed,
        step=step,
    )
    groups = await unless(stop, rollouts, _interrupted(step))
    rolled_out = time.monotonic()
    judged: Record = {}
    faults: list[str] = []
    if run.judge:
        judging = judge_groups(run.judge, groups, run.environment)
        faults, judged = await unless(stop, judging, _interrupted(step))
        judged["time/step_judge_s"] = time.monotonic() - rolled_out
    run.on_groups(step + 1, groups)
    accounted = account(
        groups, run.environment, run.policy.max_tokens, faults, run.policy.exact_tokens
    )
    record = _rollout_metrics(run, step + 1, chosen, groups, accounted) | judged
    record["time/step_rollout_s"] = rolled_out - started
    meter.add_rollouts(record)
    run.run_log.begin(record)
    trained = await _train(run, step, accounted)
    # Our own counts take precedence: the backend saw only the groups that it trained on.
    record |= {key: value for key, value in trained.items() if key not in record}
    if run.evaluate and config.eval_every and (step + 1) % config.eval_every == 0:
        record |= await run.evaluate()
    record["time/step_wall_s"] = time.monotonic() - started
    record |= meter.totals()
    run.run_log.commit(record)
    await run.policy.prune(range(step + 2 - config.keep_checkpoints, step + 2))
    return record


async def _train(run: TrainingRun, step: int, accounted: StepAccount) -> Record:
    started = time.monotonic()
    if accounted.groups:
        metrics: Record = await run.policy.train(
            accounted.groups,
            learning_rate=run.config.learning_rate,
            loss=run.config.loss,
            scale_rewards=run.config.scale_rewards,
        )
    else:
        dropped = ", ".join(f"{n} {reason}" for reason, n in accounted.dropped.items())
        log.warning("step %d has nothing to train on: %s", step + 1, dropped)
        await run.policy.skip_step()
        metrics = {}
    metrics["time/step_trainer_s"] = time.monotonic() - started
    return metrics


def _rollout_metrics(
    run: TrainingRun,
    step: int,
    chosen: Sequence[Scenario],
    groups: Sequence[Sequence[Rollout]],
    accounted: StepAccount,
) -> Record:
    """Averages over the step's rollouts, named by ART's metrics taxonomy."""
    rollouts = [rollout for group in groups for rollout in group]
    record: Record = {
        STEP: step,
        "train/reward": fmean(r.reward.value for r in rollouts),
        "train/success": fmean(r.reward.success for r in rollouts),
        "train/turns": fmean(r.outcome.turns for r in rollouts),
    }
    for name, value in means([r.reward.metrics for r in rollouts]).items():
        record[f"train/{name}"] = value
    # What ended through no fault of the agent has no verdict; it is dropped under its own reason.
    judged = [rollout for rollout in rollouts if rollout.stop not in NOT_THE_AGENTS_FAULT]
    verdicts = Counter(rollout.reward.reason for rollout in judged)
    for verdict in {*run.environment.verdicts, *verdicts}:
        record[f"train/verdict_{verdict}"] = verdicts[verdict] / len(rollouts)
    return record | {
        "data/scenario_ids": [scenario.id for scenario in chosen],
        "data/step_num_trajectories": len(rollouts),
        "data/step_num_groups_submitted": len(groups),
        "data/step_num_groups_trainable": len(accounted.groups),
        "data/step_trained_trajectories": accounted.trained,
        "data/dropped": {str(reason): n for reason, n in accounted.dropped.items()},
        "data/first_error": accounted.first_error,
        "data/step_prompt_tokens": sum(r.prompt_tokens for r in rollouts),
        "data/step_completion_tokens": sum(r.completion_tokens for r in rollouts),
    }
