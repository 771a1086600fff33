"""Reads, checks and splits examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from environment.base import EnvironmentUnavailable, SplitReport
from environment.jsonl import read_jsonl, write_jsonl
from environment.prompt_task.models import Example, PromptScenario
from environment.prompt_task.verifiers import VerifierName, fault_of


class ExampleError(EnvironmentUnavailable):
    """Unusable examples; the message names the first one and what is wrong with it."""


class ExampleReport(SplitReport):
    with_answer: int


def read_examples(path: Path) -> list[Example]:
    """Read a JSONL file of examples.

    Raises:
        ExampleError: the file is unreadable, or a line is not an example.
    """
    examples = []
    for where, row in read_jsonl(path, ExampleError):
        try:
            examples.append(Example.model_validate(row))
        except ValidationError as error:
            raise ExampleError(
                f'{where}: not an example such as {{"prompt": "What is 2 + 2?", "answer": "4"}} '
                f"({error.errors()[0]['msg']})"
            ) from error
    return examples


def different(examples: Iterable[Example]) -> list[Example]:
    """Drop repeated prompts, keeping the order.

    Raises:
        ExampleError: a prompt has two answers.
    """
    by_digest: dict[str, Example] = {}
    for example in examples:
        known = by_digest.setdefault(example.digest, example)
        if known.answer != example.answer:
            raise ExampleError(f"two examples ask {_shown(example)} but have different answers")
    return list(by_digest.values())


def check_examples(examples: Sequence[Example], verifier: VerifierName | None) -> None:
    """
    Raises:
        ExampleError: there is no example, or the verifier cannot check one of them.
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
            f"first is {_shown(first)}: {fault}. Fix them, or train with RULER and no verifier"
        )


def scenarios_of(examples: Iterable[Example], held_out_share: float) -> list[PromptScenario]:
    """Assign each example to a split by the digest of its prompt, whatever the order. The number
    held out is the closest to the share, with at least one example per split if there are two.

    Raises:
        ExampleError: a prompt has two answers.
    """
    # Not by the digest that serves as the id: all ids of a split would start alike.
    chosen = sorted(different(examples), key=lambda example: _place(example.digest))
    target = max(round(held_out_share * len(chosen)), bool(held_out_share))
    held_out = min(target, len(chosen) - 1)
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
    """Write the usable examples of ``source`` to ``file``.

    Args:
        held_out_share: for the report; opening the file assigns the splits.

    Raises:
        ExampleError: there is no source, or it has no usable examples.
    """
    if source is None:
        raise ExampleError("prompt_task needs data.path: a JSONL file of examples")
    examples = read_examples(source)
    chosen = different(examples)
    check_examples(chosen, None)
    write_jsonl(file, chosen)
    splits = Counter(scenario.split for scenario in scenarios_of(chosen, held_out_share))
    repeated = len(examples) - len(chosen)
    return ExampleReport(
        train=splits["train"],
        test=splits["test"],
        with_answer=sum(example.answer is not None for example in chosen),
        skipped={"repeated": repeated} if repeated else {},
    )


def fingerprint(source: Path | None) -> str:
    """Digest of a local file, so that caches notice changed examples."""
    if source is None or not source.is_file():
        return ""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _shown(example: Example) -> str:
    return repr(example.prompt[:60])
