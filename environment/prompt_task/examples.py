"""Examples in files, checked, and split into those to train on and those held out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from environment.base import EnvironmentUnavailable, StrictModel
from environment.prompt_task.models import Example, PromptScenario
from environment.prompt_task.verifiers import VerifierName, fault_of


class ExampleError(EnvironmentUnavailable):
    """Examples that cannot be used; the text names the first and what is wrong with it."""


class ExampleReport(StrictModel):
    """How many examples are in each split, and why others were left out."""

    train: int
    test: int
    with_answer: int
    skipped: dict[str, int]


def read_examples(path: Path) -> list[Example]:
    """The examples of a JSONL file.

    Raises:
        ExampleError: there is no such file, or a line is no example.
    """
    try:
        lines = path.read_text(encoding="utf-8").split(
            "\n"
        )  # no other end of a line: JSON may hold them
    except (OSError, UnicodeDecodeError) as error:
        raise ExampleError(f"cannot read the examples {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(Example.model_validate(json.loads(line)))
        except (ValueError, RecursionError) as error:
            told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise ExampleError(
                f'{path}, line {number}: not an example such as {{"prompt": "What is 2 + 2?", '
                f'"answer": "4"}} ({told})'
            ) from error
    return found


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    path.write_text("".join(f"{e.model_dump_json()}\n" for e in examples), encoding="utf-8")


def different(examples: Iterable[Example]) -> list[Example]:
    """Each prompt once, in the order they came.

    Raises:
        ExampleError: a prompt has two answers.
    """
    by_digest: dict[str, Example] = {}
    for example in examples:
        known = by_digest.setdefault(example.digest, example)
        if known.answer != example.answer:
            raise ExampleError(f"two examples ask {_shown(example)} and differ in their answers")
    return list(by_digest.values())


def check_examples(examples: Sequence[Example], verifier: VerifierName | None) -> None:
    """
    Raises:
        ExampleError: there are none, or the verifier cannot verify one of them.
    """
    if not examples:
        raise ExampleError("there is no example to train on")
    if verifier is None:
        return
    faults = [(e, fault) for e in examples if (fault := fault_of(verifier, e.answer))]
    if faults:
        first, fault = faults[0]
        raise ExampleError(
            f"{len(faults)} of {len(examples)} examples cannot be verified by {verifier}; the "
            f"first is {_shown(first)}: {fault}. Mend them, or train by RULER without a verifier"
        )


def scenarios_of(examples: Iterable[Example], held_out_share: float) -> list[PromptScenario]:
    """Each example in its split. The digests of the prompts decide which are held out, whatever
    their order: the nearest number to the share, and at least one of each split where there are two.

    Raises:
        ExampleError: a prompt has two answers.
    """
    # Not by the digest that is the id: those of a split would all begin alike.
    chosen = sorted(different(examples), key=lambda example: _place(example.digest))
    wanted = max(round(held_out_share * len(chosen)), bool(held_out_share))
    held_out = min(wanted, len(chosen) - 1)
    return [
        PromptScenario(
            id=example.digest,
            split="test" if place < held_out else "train",
            prompt=example.prompt,
            reference=example.answer,
        )
        for place, example in enumerate(chosen)
    ]


def _place(digest: str) -> bytes:
    return hashlib.blake2b(digest.encode(), digest_size=8, person=b"split").digest()


def make_examples(source: Path | None, file: Path, held_out_share: float) -> ExampleReport:
    """The work of the data pipeline: the usable examples of ``source``, written to ``file``.

    Args:
        held_out_share: for the report; an example is put in its split where the file is opened.

    Raises:
        ExampleError: there is no source, or it holds no usable examples.
    """
    if source is None:
        raise ExampleError("prompt_task needs data.path: a JSONL file of examples")
    read = read_examples(source)
    chosen = different(read)
    check_examples(chosen, None)
    write_examples(file, chosen)
    splits = Counter(scenario.split for scenario in scenarios_of(chosen, held_out_share))
    repeated = len(read) - len(chosen)
    return ExampleReport(
        train=splits["train"],
        test=splits["test"],
        with_answer=sum(example.answer is not None for example in chosen),
        skipped={"repeated": repeated} if repeated else {},
    )


def fingerprint(source: Path | None) -> str:
    """Digest of a local file, so that changed examples are read again."""
    if source is None or not source.is_file():
        return ""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _shown(example: Example) -> str:
    return repr(example.prompt[:60])
