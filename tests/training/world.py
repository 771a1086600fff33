"""The sample inboxes at their smallest, the pocket policy, and runs and rollouts over them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.rollout import Rollout
from backends import BackendConfig
from environment.base import Environment, Reward, StopReason
from environment.email_search import EmailSearchEnvironment
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import EmailOutcome, EmailScenario
from environment.email_search.sample.corpus import generate, scenarios_of
from environment.email_search.scenarios import read_scenarios
from environment.email_search.tools import EmailSession
from environment.jsonl import write_jsonl
from training.config import RolloutConfig, TrainingConfig
from training.run.runner import RunOutput, run_training
from training.spec import RunSpec

POCKET = Path(__file__).parents[2] / "models" / "pocket"
VIEW = EmailSearchConfig(max_hits=4, snippet_words=10, max_mail_chars=600)
BACKEND = BackendConfig.model_validate(
    {
        "kind": "embedded",
        "base_model": str(POCKET),
        "device": "cpu",
        "lora": {"rank": 8, "alpha": 16},
        "max_sequence_tokens": 2048,
        "micro_batch_tokens": 2048,
    }
)
ROLLOUT = RolloutConfig(max_turns=6, max_reply_tokens=64, max_tokens=2048, timeout_s=60)
GROUPS, SIZE = 2, 4


def training_config(max_steps: int, **changes: Any) -> TrainingConfig:
    settings: dict[str, Any] = {
        "reward": "verifiable",
        "groups_per_step": GROUPS,
        "rollouts_per_group": SIZE,
        "learning_rate": 1e-3,
        "max_steps": max_steps,
    }
    return TrainingConfig(**settings | changes)


def run_spec(max_steps: int, seed: int = 0, **changes: Any) -> RunSpec:
    """A run of the smallest size; ``changes`` are settings of its training."""
    return RunSpec(
        project="art-rl",
        name="run",
        seed=seed,
        backend=BACKEND,
        training=training_config(max_steps, **changes),
        rollout=ROLLOUT,
        environment=VIEW.model_dump(),
    )


DATA = {"database": "d", "scenarios": "s"}


def train_run(
    spec: RunSpec,
    folder: Path,
    environment: Environment[Any, Any],
    data: Mapping[str, str] = MappingProxyType(DATA),
) -> RunOutput:
    return asyncio.run(run_training(spec, folder, environment, data))


def sample_files(folder: Path) -> dict[str, Path]:
    """The artifacts of a data run over the smallest sample."""
    inboxes = generate(0, train_inboxes=2, test_inboxes=2, mails_per_inbox=60)
    files = {"database": folder / "mails.db", "scenarios": folder / "scenarios.jsonl"}
    build_database(files["database"], [mail for inbox in inboxes for mail in inbox.mails])
    write_jsonl(files["scenarios"], scenarios_of(inboxes))
    return files


@dataclass(slots=True)
class _RankedOutcome(EmailOutcome):
    rank: int = 0


class _RankedSession(EmailSession):
    rank = 0

    def outcome(self, stop: StopReason, turns: int) -> _RankedOutcome:
        own = super().outcome(stop, turns)
        fields = {name: getattr(own, name) for name in EmailOutcome.__dataclass_fields__}
        return _RankedOutcome(**fields, rank=self.rank)


class RankedEnvironment(EmailSearchEnvironment):
    """The sample inboxes, where no two rollouts of a group get the same reward: on top of its own,
    each gets a hundredth for every rollout of its group that began before it. So every step has
    something to train on, whatever the policy can do."""

    def __init__(self, files: dict[str, Path]) -> None:
        super().__init__(
            EmailDatabase(files["database"]),
            read_scenarios(files["scenarios"]),
            VIEW,
            ROLLOUT.max_turns,
        )
        self._begun = itertools.count()

    def session(self, scenario: EmailScenario) -> _RankedSession:
        session = _RankedSession(scenario, self.database, VIEW)
        if scenario.split == "train":
            session.rank = next(self._begun) % SIZE
        return session

    def reward(self, scenario: EmailScenario, outcome: EmailOutcome) -> Reward:
        own = super().reward(scenario, outcome)
        rank = outcome.rank if isinstance(outcome, _RankedOutcome) else 0
        return replace(own, value=own.value + 0.01 * rank)


class ConstantEnvironment(RankedEnvironment):
    """The sample inboxes, where nothing the agent does makes a difference."""

    verdicts = MappingProxyType({"constant": "whatever it was"})

    def reward(self, scenario: EmailScenario, outcome: EmailOutcome) -> Reward:
        return Reward(0.5, success=False, reason="constant")


class SoonConstantEnvironment(RankedEnvironment):
    """The sample inboxes, where everything is worth the same after the first step."""

    verdicts = MappingProxyType({"given": "by the order of the rollouts"})

    def __init__(self, files: dict[str, Path]) -> None:
        super().__init__(files)
        self._played = itertools.count()

    def session(self, scenario: EmailScenario) -> _RankedSession:
        session = super().session(scenario)
        session.rank = next(self._played)
        return session

    def reward(self, scenario: EmailScenario, outcome: EmailOutcome) -> Reward:
        assert isinstance(outcome, _RankedOutcome)
        value = 1.0 if outcome.rank >= GROUPS * SIZE else 0.01 * outcome.rank
        return Reward(value, success=value == 1.0, reason="given")


SCENARIO = EmailScenario(
    id="q1",
    split="train",
    question="When is the audit due?",
    answer="May 3",
    message_ids=("<m1>",),
    inbox_address="ann@harbor.example",
    query_date="2001-12-31",
    kind="due",
)


def reply(token_ids: Sequence[int] | None = (7, 8), logprobs: int | None = None) -> dict[str, Any]:
    """The recorded body of a server's reply.

    Args:
        token_ids: None where the server reported none.
        logprobs: how many it reported; by default one for each token.
    """
    count = len(token_ids or ()) if logprobs is None else logprobs
    entry = {"token": "t", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "x"},
        "logprobs": {"content": [entry] * count} if count else None,
    }
    body: dict[str, Any] = {"choices": [choice], "prompt_token_ids": [1, 2, 3]}
    if token_ids is not None:
        choice["token_ids"] = list(token_ids)
    usage = {"prompt_tokens": 3, "completion_tokens": len(token_ids or ())}
    return body | {"usage": usage}


def rollout(
    value: float,
    stop: StopReason = StopReason.FINISHED,
    replies: Sequence[dict[str, Any]] | None = None,
    *,
    text: str = "x",
    success: bool = False,
    error: str = "",
    metrics: dict[str, float] | None = None,
    scenario: EmailScenario = SCENARIO,
) -> Rollout:
    """A rollout as if it had been run; one reply, unless others are given."""
    bodies = [reply()] if replies is None else list(replies)
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    return Rollout(
        scenario=scenario,
        messages=[*messages, *({"role": "assistant", "content": text} for _ in bodies)],
        replies=bodies,
        outcome=EmailOutcome(stop=stop, turns=len(bodies), answer=text if success else None),
        reward=Reward(value, success, "right" if success else str(stop), metrics or {}),
        seconds=0.5,
        error=error,
    )
