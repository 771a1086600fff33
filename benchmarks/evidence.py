"""The service's check that an answer stands in its mails, against the truth.

    python -m benchmarks.evidence [--version N]

Asks a version (the one in production) every held-out question, greedy, and counts: right and wrong
answers by the verifiable reward, each served or refused. A right answer that is refused is lost; a
wrong one that is served misleads.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from agent.rollout import Rollout
from backends import install_adapter, open_policy
from deployment.answer import no_answer
from environment.email_search import EmailSearchEnvironment
from environment.email_search.answering import finding, question_of
from environment.registry import environment_package
from pipelines.config import load_config
from steps.model_versions import PRODUCTION, adapter_of, data_artifacts, model_version
from training.loop.gather import chat_model, gather_rollouts, limits

_CONFIG = Path(__file__).resolve().parents[1] / "configs" / "laptop.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default=PRODUCTION)
    config = load_config([_CONFIG])
    version = model_version(config.model_name, parser.parse_args().version)
    data = {name: a.load() for name, a in data_artifacts(config.environment.name).items()}
    environment = environment_package(config.environment.name).open(
        data, config.environment, config.rollout.max_turns
    )
    assert isinstance(environment, EmailSearchEnvironment)

    async def ask_all() -> list[Rollout]:
        with tempfile.TemporaryDirectory() as workspace:
            install_adapter(adapter_of(version).load(), Path(workspace), "evidence", "agent")
            policy = await open_policy(
                config.backend, project="evidence", name="agent", path=Path(workspace)
            )
            async with policy:
                model = chat_model(policy, environment, config.rollout, 1, 0.0)
                scenarios = environment.scenarios("test")
                return await gather_rollouts(
                    model,
                    environment,
                    scenarios,
                    limits(config.rollout),
                    seeds=[0] * len(scenarios),
                    concurrency=config.rollout.concurrency,
                )

    counts: Counter[str] = Counter()
    for rollout in asyncio.run(ask_all()):
        outcome: Any = rollout.outcome
        if outcome.answer is None:
            reason = no_answer(outcome).reason
        else:
            reason = finding(environment, question_of(rollout.scenario), outcome).reason  # type: ignore[arg-type]
        truth = "right" if rollout.reward.success else "wrong"
        counts[f"{truth}, {'served' if reason is None else f'refused: {reason}'}"] += 1
    for what, count in counts.most_common():
        print(f"{count:>5}  {what}")


if __name__ == "__main__":
    main()
