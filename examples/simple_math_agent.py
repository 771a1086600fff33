"""Teach a small policy sums through the training service: ``python examples/simple_math_agent.py``.

It makes its own examples (prompts with reference answers), trains on them with the verifier
``numeric``, follows the steps as they come, and compares the base and the trained policy on sums that
neither it nor its training has seen. Without ``--url`` it starts a service for itself; nothing is
downloaded, and no key is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own path is its folder

from examples.common import asked, connected, ended, options, tell
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
    parser.add_argument("--sums", type=int, default=400, help="a quarter of them is held out")
    arguments = parser.parse_args()
    made = sums(arguments.sums, seed=arguments.seed)
    request = asked(
        arguments,
        use_ruler=False,
        task_prompt=TASK,
        training_data=made,
        verifier="numeric",
        environment_settings={"held_out_share": HELD_OUT_SHARE},
        evaluation=True,
    )
    print(f"{len(made)} sums, such as {made[0].prompt!r} = {made[0].answer}")
    with connected(arguments) as client:
        job = client.train_and_wait(request, tell)
    result = ended(job)
    if result is None or result.evaluation is None:
        return 1
    show(result.evaluation)
    return 0


def show(evaluation: Evaluation) -> None:
    """The two policies side by side."""
    print(f"right answers to {evaluation.scenarios} sums that were held out:")
    print("           sampled  greedy")
    for name, scores in (("base", evaluation.base), ("trained", evaluation.trained)):
        print(f"{name:<10} {share(scores.sampled)}    {share(scores.greedy)}")
    if evaluation.gain is not None and evaluation.interval is not None:
        low, high = evaluation.interval
        print(
            f"gain {evaluation.gain:+.3f} sampled, {evaluation.confidence:.0%} interval "
            f"{low:+.3f} to {high:+.3f}, {evaluation.samples} answers to each sum"
        )


def share(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
