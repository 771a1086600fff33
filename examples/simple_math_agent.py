"""Teach a small policy addition through the training service: ``python examples/simple_math_agent.py``.

It generates examples (prompts with reference answers), trains on them with the verifier ``numeric``,
prints the steps, and compares base and trained policy on held-out sums. Without ``--url`` it starts its
own training service. It needs no downloads and no key.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own path is its folder

from examples.common import connected, ended, options, tell, train_request
from models.pocket_math.examples import sums
from service.schemas import Evaluation

TASK = "You are a helpful assistant that solves problems step by step."
HELD_OUT_SHARE = 0.25


def main() -> int:
    parser = options(
        (__doc__ or "").splitlines()[0],
        name="simple-math-agent",
        base_model="models/pocket_math",
        steps=100,
        learning_rate=5e-4,
    )
    parser.add_argument(
        "--sums", type=int, default=400, help="number of examples; a quarter is held out"
    )
    arguments = parser.parse_args()
    examples = sums(arguments.sums, seed=arguments.seed)
    request = train_request(
        arguments,
        use_ruler=False,
        task_prompt=TASK,
        training_data=examples,
        verifier="numeric",
        environment_settings={"held_out_share": HELD_OUT_SHARE},
        evaluation=True,
    )
    print(f"{len(examples)} sums, such as {examples[0].prompt!r} = {examples[0].answer}")
    with connected(arguments) as client:
        job = client.train_and_wait(request, tell)
    result = ended(job)
    if result is None or result.evaluation is None:
        return 1
    show(result.evaluation)
    return 0


def show(evaluation: Evaluation) -> None:
    print(f"success rate on {evaluation.scenarios} held-out sums:")
    print("           sampled  greedy")
    for name, scores in (("base", evaluation.base), ("trained", evaluation.trained)):
        print(f"{name:<10} {share(scores.sampled)}    {share(scores.greedy)}")
    if evaluation.gain is not None and evaluation.interval is not None:
        low, high = evaluation.interval
        print(
            f"gain {evaluation.gain:+.3f} sampled, {evaluation.confidence:.0%} interval "
            f"{low:+.3f} to {high:+.3f}, {evaluation.samples} answers per sum"
        )


def share(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
