"""Train a summariser without reference answers: ``python examples/text_summarization_agent.py``.

A model writes the texts (``POST /rollout``; ``--data own`` uses those in this file), RULER compares the
agent's summaries in training, and finally a judge scores some summaries by our criteria
(``POST /evaluate``). With OPENAI_API_KEY the models are OpenAI's; without it, a scripted server on this
machine replaces them, and the output says so.

On a laptop this demonstrates the workflow, not a summariser: the small policy knows the words of office
mails but not their meaning, and learns whatever its judge rewards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own path is its folder

from dotenv import dotenv_values

from examples.common import ROOT, connected, ended, options, tell, train_request
from examples.scripted_models import ScriptedModels
from service.client import ServiceClient
from service.hosted_schemas import EvaluateRequest, RolloutRequest
from service.schemas import Example

TASK = "Summarise the text in one short sentence."
CRITERIA = (
    "A good summary is one short sentence that says what matters in the text and nothing else."
)
MOST_USD = 1.0
OWN_TEXTS = """
The harbor is closed for two days after the storm. Three boats were lost, nobody was hurt, and the
ferry to the island starts again on Monday.

The library opens a new room for children in June. It has 2,000 books, and reading hours on Friday.
The costs were paid by the families of the town.

The price of the conference is 300 dollars until March and 400 later. Students pay half. The hotel is
not in the price.

The printer on the second floor is out of order. A repair is planned for Thursday; until then please
use the one in the office of the manager.

The meeting on the budget is moved from Tuesday to Friday at ten. The room is the same. Please send
your numbers to Tom by Wednesday.

The school looks for people who help in the garden. It is two hours a week, after lunch. Call the
office if you have time.

The train to the airport leaves every 20 minutes from platform 4. The last one is at midnight. A
ticket is 9 dollars, and 12 in the train.

The museum shows pictures of the old market until August. It is closed on Monday. Children do not pay.
"""


def main() -> int:
    parser = options(
        (__doc__ or "").splitlines()[0],
        name="text-summarization-agent",
        base_model="models/pocket",
        steps=80,
        learning_rate=1e-3,  # for a small policy; use 1e-5 for a real one
    )
    parser.add_argument("--data", choices=("generated", "own"), default="generated")
    parser.add_argument("--texts", type=int, default=40, help="number of generated texts")
    parser.add_argument("--judge-model", default="gpt-4o", help="a LiteLLM name; needs a key")
    arguments = parser.parse_args()
    with (
        models(arguments.url, arguments.judge_model) as (judge_model, sections),
        connected(arguments, **sections) as client,
    ):
        examples = texts(client, arguments)
        request = train_request(
            arguments,
            use_ruler=True,
            judge_model=judge_model,
            task_prompt=TASK,
            training_data=examples,
            environment_settings={"held_out_share": 0},
            budget={"minutes": 30},
        )
        job = client.train_and_wait(request, tell)
        if ended(job) is None:
            return 1
        score_some(client, judge_model, examples[0].prompt)
    return 0


@contextmanager
def models(url: str | None, judge_model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The judge's name, and the sections of the configuration for judge and writer."""
    if url:
        print("judge and writer are those of the service's configuration")
        yield judge_model, {}
    elif (dotenv_values(ROOT / ".env") | os.environ).get("OPENAI_API_KEY"):
        print(
            f"writer and judge are {judge_model}, limited to {MOST_USD:.2f} US dollars each for texts, "
            "training and scores"
        )
        bounded = {"model": judge_model, "max_cost_usd": MOST_USD}
        yield judge_model, {"judge": bounded, "writer": bounded}
    else:
        print(
            "OPENAI_API_KEY is not set: judge and writer are SCRIPTED (simple rules on this machine, "
            "examples/scripted_models.py). This demonstrates the workflow, not a summariser."
        )
        with ScriptedModels() as server:
            scripted = {"model": "openai/scripted", "api_base": server.base_url}
            yield "openai/scripted", {"judge": scripted, "writer": scripted}


def texts(client: ServiceClient, arguments: Any) -> list[Example]:
    """Texts to summarise, without reference answers."""
    if arguments.data == "own":
        own = [" ".join(text.split()) for text in OWN_TEXTS.split("\n\n")]
        print(f"{len(own)} texts from this example")
        return [Example(prompt=text) for text in own]
    answer = client.rollout(
        RolloutRequest(
            model_name=arguments.model_name,
            project=arguments.project,
            num_rollouts=arguments.texts,
            task_prompt=TASK,
            with_answers=False,
        )
    )
    report = answer.report
    print(f"{report.model} wrote {report.kept} texts in {report.requests} requests; the first:")
    print(f"  {answer.examples[0].prompt}")
    return answer.examples


def score_some(client: ServiceClient, judge_model: str, text: str) -> None:
    """Have the judge score some summaries by our criteria."""
    summaries = {
        "first sentence": text.partition(". ")[0] + ".",
        "the whole text": text,
        "another topic": "Bananas are rich in potassium.",
    }
    prompt = [{"role": "system", "content": TASK}, {"role": "user", "content": text}]
    trajectories = [
        {"id": id_, "messages": [*prompt, {"role": "assistant", "content": summary}]}
        for id_, summary in summaries.items()
    ]
    request = {
        "trajectories": trajectories,
        "judge_model": judge_model,
        "evaluation_prompt": CRITERIA,
    }
    answer = client.evaluate(EvaluateRequest.model_validate(request))
    print(f"{answer.judge_model} scored summaries of the first text, mean {answer.mean:.2f}:")
    for scored in answer.scores:
        print(f"  {scored.score:.2f}  {scored.id}: {scored.explanation}")


if __name__ == "__main__":
    sys.exit(main())
