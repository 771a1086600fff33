"""Build the pocket policy: ``python -m models.pocket.build --out FOLDER``.

Three phases. First *skill*: the scripted expert alone, until the policy copies and chooses well.
Then *polish*: the same at a lower rate, with the hard kinds of questions more often. Then *habits*:
a short training on a mixture in which the expert is outnumbered, which leaves the skill in place
and spoils the behaviour. Reinforcement learning has the last to mend.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2ForCausalLM

from models.pocket.demos import demonstrate, worlds
from models.pocket.sft import train
from models.pocket.tokenizer import train_tokenizer
from models.pocket.wire import pocket_config, wired_model

log = logging.getLogger(__name__)

RECORD = "build.json"
_TOKENIZER_WORLDS = 1_000_000
_EPISODES_PER_INBOX = 60


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of imitation.

    Args:
        first_seed: of its worlds. The sample corpus of a user's run has small seeds, so no world
            is shared with one.
        good: the expert's share of the episodes.
        easy: share of the questions of easy kinds that are asked.
    """

    name: str
    steps: int
    first_seed: int
    good: float
    easy: float
    matrix_rate: float
    other_rate: float


PHASES = (
    Phase("skill", 4000, 2_000_000, 1.0, 1.0, 0.02, 2e-3),
    Phase("polish", 1200, 4_000_000, 1.0, 0.3, 0.01, 1e-3),
    Phase("habits", 250, 3_000_000, 0.45, 1.0, 0.004, 4e-4),
)


def build_tokenizer() -> PreTrainedTokenizerBase:
    rng = random.Random(0)
    texts: list[str] = []
    for environment, inboxes in worlds(_TOKENIZER_WORLDS, 12):
        for inbox in inboxes:
            pairs = list(zip(inbox.scenarios, inbox.facts, strict=True))
            for scenario, fact in rng.sample(pairs, _EPISODES_PER_INBOX):
                demo = demonstrate(environment, scenario, fact, rng, good=0.6)
                texts += [demo.user_prompt, *(turn.text for turn in demo.turns)]
    return train_tokenizer(texts)


def start() -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerBase]:
    tokenizer = build_tokenizer()
    config = pocket_config(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    return wired_model(config, seed=0), tokenizer


def load(folder: Path) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerBase, list[dict[str, Any]]]:
    """A policy after some of the phases, and the record of those."""
    record = json.loads((folder / RECORD).read_text())
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder), record["phases"]


def save(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    phases: list[dict[str, Any]],
    folder: Path,
) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {"minutes": round(sum(phase["minutes"] for phase in phases), 1), "phases": phases}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def run(phase: Phase, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase) -> float:
    """Train in place; the minutes it took."""
    started = time.monotonic()
    log.info("phase %s", phase.name)
    train(
        model,
        tokenizer,
        steps=phase.steps,
        good=phase.good,
        easy=phase.easy,
        first_seed=phase.first_seed,
        matrix_rate=phase.matrix_rate,
        other_rate=phase.other_rate,
    )
    return round((time.monotonic() - started) / 60, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--after", type=Path, help="continue after the phases done in this folder")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)

    done: list[dict[str, Any]] = []
    if arguments.after:
        model, tokenizer, done = load(arguments.after)
    else:
        model, tokenizer = start()
    for phase in PHASES[len(done) :]:
        minutes = run(phase, model, tokenizer)
        done.append(asdict(phase) | {"minutes": minutes})
        save(model, tokenizer, done, arguments.out / phase.name)
    save(model.to(torch.bfloat16), tokenizer, done, arguments.out)


if __name__ == "__main__":
    main()
