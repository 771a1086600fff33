"""The skeleton of a small policy's build: phases of imitation, each saved, continued on request.

A policy's own ``build.py`` says how to start, what its phases are and what is taught in each.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2ForCausalLM

from models.sft import Example, train
from models.wire import small_config, wired_model

log = logging.getLogger(__name__)

RECORD = "build.json"


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of imitation.

    Args:
        first_seed: of what is generated for it. A user's run has small seeds, so nothing is
            shared with one.
        good: the expert's share of the episodes.
    """

    name: str
    steps: int
    first_seed: int
    good: float
    matrix_rate: float
    other_rate: float


PhaseT = TypeVar("PhaseT", bound=Phase)


@dataclass(frozen=True, slots=True)
class Course(Generic[PhaseT]):
    """How one policy is built.

    Args:
        tokenizer: makes its tokenizer.
        lessons: an endless stream of episodes for a phase.
        width: of the model's hidden state.
    """

    phases: Sequence[PhaseT]
    tokenizer: Callable[[], PreTrainedTokenizerBase]
    lessons: Callable[[PreTrainedTokenizerBase, PhaseT], Iterator[Example]]
    width: int = 256


def _load(folder: Path) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerBase, list[dict[str, Any]]]:
    """A policy after some of the phases, and the record of those."""
    record = json.loads((folder / RECORD).read_text())
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder), record["phases"]


def _save(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    phases: list[dict[str, Any]],
    folder: Path,
) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {"minutes": round(sum(phase["minutes"] for phase in phases), 1), "phases": phases}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def build(course: Course[PhaseT], out: Path, after: Path | None = None) -> None:
    """Run the phases and write the policy to ``out``, and what it was after each beside it.

    Args:
        after: a folder with a policy after some of the phases, to continue from.
    """
    done: list[dict[str, Any]] = []
    if after:
        model, tokenizer, done = _load(after)
    else:
        tokenizer = course.tokenizer()
        eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        config = small_config(len(tokenizer), eos, pad, course.width)
        model = wired_model(config, seed=0)
    for phase in course.phases[len(done) :]:
        log.info("phase %s", phase.name)
        started = time.monotonic()
        train(
            model,
            course.lessons(tokenizer, phase),
            steps=phase.steps,
            seed=phase.first_seed,
            matrix_rate=phase.matrix_rate,
            other_rate=phase.other_rate,
        )
        minutes = round((time.monotonic() - started) / 60, 1)
        done.append(asdict(phase) | {"minutes": minutes})
        _save(model, tokenizer, done, out / phase.name)
    _save(model.to(torch.bfloat16), tokenizer, done, out)


def main(course: Course[PhaseT], description: str) -> None:
    """The command line of a policy's build."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--after", type=Path, help="continue after the phases done in this folder")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    build(course, arguments.out, arguments.after)
