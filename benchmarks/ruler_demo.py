"""Does RULER teach the demo's agent what the verifiable reward teaches it?

    python -m benchmarks.ruler_demo [--steps N] [--noise 0.05] [--seed 0] [--set KEY=VALUE ...]

Trains the laptop demo twice from the same seed: on the environment's own reward, and on the scores
of a judge that is asked over HTTP. The judge is scripted: it plays each attempt that it is shown
again in the environment, brings the reward between 0 and 1 and adds normal noise of ``--noise``
(the rungs of the reward are a quarter apart there). Then both, and the policy before training, are
evaluated on held-out scenarios. Prints success, the difference of the two with its interval, and
what the run itself says of its judge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from agent.judge import JudgeConfig
from backends import install_adapter, open_policy
from benchmarks.rl_step import sample_environment
from environment.base import Reward, StopReason
from environment.email_search import EmailSearchEnvironment
from environment.email_search.models import EmailScenario
from pipelines.config import ProjectConfig, load_config
from tests.fakes.judge_server import good, shown
from tests.fakes.loopback import LoopbackServer, Response
from training.evaluation.evaluate import EvaluationRow, evaluate_policy
from training.evaluation.summaries import compare
from training.loop.judging import judge_summary
from training.run.runner import RunOutput, run_training
from training.spec import RunSpec

_WORST, _BEST = -2.2, 1.7  # a little outside what email_reward gives


def replayed(
    environment: EmailSearchEnvironment, scenario: EmailScenario, messages: list[dict[str, Any]]
) -> Reward:
    """The reward of an attempt, from its messages alone; of 128 rollouts 3 came out otherwise than
    in training: a call that the bound on a reply's length cut off looks like a broken one."""
    session = environment.session(scenario)
    tools = {tool.name: tool for tool in session.tools}
    replies = [message for message in messages if message["role"] == "assistant"]
    stop = StopReason.OUT_OF_TURNS
    for reply in replies:
        if not reply.get("tool_calls"):
            broken = "<tool_call>" in (reply["content"] or "")
            stop = StopReason.MALFORMED_CALL if broken else StopReason.NO_TOOL_CALL
        for call in reply.get("tool_calls") or []:
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            try:
                tools[name].run(json.loads(arguments))
            except json.JSONDecodeError:
                stop = StopReason.MALFORMED_CALL
            except (KeyError, ValueError):
                session.tool_failed()
    if session.finished:
        stop = StopReason.FINISHED
    return environment.reward(scenario, session.outcome(stop, len(replies)))


class NoisyJudge(LoopbackServer):
    """Scores attempts by their replayed reward, with noise that only their text decides."""

    def __init__(self, environment: EmailSearchEnvironment, noise: float) -> None:
        super().__init__()
        self._environment, self._noise = environment, noise
        self._scenarios = {
            environment.session(scenario).user_prompt: scenario
            for scenario in environment.scenarios("train")
        }

    def respond(self, request: dict[str, Any]) -> Response:
        seen = shown(request)
        return good({a["id"]: self._score(seen["task"] + a["messages"]) for a in seen["attempts"]})

    def _score(self, messages: list[dict[str, Any]]) -> float:
        own = replayed(self._environment, self._scenarios[messages[1]["content"]], messages).value
        noise = random.Random(json.dumps(messages)).gauss(0, self._noise)
        return min(1.0, max(0.0, (own - _WORST) / (_BEST - _WORST) + noise))


def spec_of(config: ProjectConfig, seed: int, judge: JudgeConfig | None = None) -> RunSpec:
    reward = "ruler" if judge else "verifiable"
    return RunSpec(
        project="benchmark",
        name=reward,
        seed=seed,
        backend=config.backend,
        training=config.training.model_copy(update={"reward": reward}),
        rollout=config.rollout,
        environment=config.environment.model_dump(mode="json"),
        judge=judge or JudgeConfig(),
    )


async def evaluate(
    label: str,
    adapter: Path | None,
    config: ProjectConfig,
    environment: EmailSearchEnvironment,
    folder: Path,
    seed: int,
) -> list[EvaluationRow]:
    """A policy on the held-out scenarios: the adapter's, or the untrained one."""
    if adapter:
        install_adapter(adapter, folder, "benchmark", label)
    scenarios = environment.scenarios("test", config.evaluation.scenarios, seed)
    policy = await open_policy(
        config.backend, project="benchmark", name=label, path=folder, seed=seed
    )
    async with policy:
        return await evaluate_policy(label, policy, environment, scenarios, config.rollout, seed)


async def measure(config: ProjectConfig, folder: Path, seed: int, noise: float) -> dict[str, Any]:
    environment = sample_environment(config, folder)
    outputs: dict[str, RunOutput] = {}
    seconds: dict[str, float] = {}
    with NoisyJudge(environment, noise) as server:
        judge = JudgeConfig(model="openai/scripted", api_base=server.base_url)
        for spec in (spec_of(config, seed), spec_of(config, seed, judge)):
            started = time.monotonic()
            outputs[spec.name] = await run_training(spec, folder / spec.name, environment, {})
            seconds[spec.name] = time.monotonic() - started
    rows: list[EvaluationRow] = []
    for label in ("base", *outputs):
        adapter = outputs[label].adapter if label in outputs else None
        rows += await evaluate(label, adapter, config, environment, folder / "evaluated", seed)
    environment.close()
    comparison = compare(rows, config.evaluation.confidence, trained="ruler")
    return {
        "steps": {name: output.result.step for name, output in outputs.items()},
        "stopped_by": {name: output.result.stopped_by for name, output in outputs.items()},
        "scenarios": comparison.policies["base"]["sampled"].scenarios,
        "success": {
            label: {mode: summary.success for mode, summary in modes.items()}
            for label, modes in comparison.policies.items()
        },
        "difference": comparison.differences["verifiable"],
        "judge": judge_summary(outputs["ruler"].result.records),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, help="of training (default: the laptop profile's)")
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)
    steps = [f"training.max_steps={arguments.steps}"] if arguments.steps else []
    config = load_config([Path("configs/laptop.yaml")], [*steps, *arguments.set])
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(config, Path(folder), arguments.seed, arguments.noise))
    print(f"held out: {figures['scenarios']} scenarios\n{'':<12} sampled  greedy")
    for label, shares in figures["success"].items():
        print(f"{label:<12} {shares['sampled']:.3f}    {shares['greedy']:.3f}")
    for mode, gap in figures["difference"].items():
        print(
            f"ruler minus verifiable, {mode}: {gap['mean']:+.3f} "
            f"({gap['low']:+.3f} to {gap['high']:+.3f})"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
