"""The data stage of the prompt task: reads examples from a file or has a model write them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from environment.base import StrictModel
from environment.jsonl import write_jsonl
from environment.language_model import LlmConfig
from environment.package import Stage, Work
from environment.prompt_task import writer
from environment.prompt_task.config import PromptTaskConfig, PromptTaskDataConfig
from environment.prompt_task.examples import check_examples, fingerprint, make_examples
from environment.prompt_task.models import Example
from environment.prompt_task.verifiers import VerifierName

_HERE = "environment.prompt_task"


class LoadSettings(StrictModel):
    path: Path | None
    examples: tuple[Example, ...] | None
    held_out_share: float


class WriteSettings(StrictModel):
    task_prompt: str
    verifier: VerifierName | None
    count: int
    model: LlmConfig


def stages(data: PromptTaskDataConfig, config: PromptTaskConfig) -> list[Stage]:
    if data.write is None:
        settings = LoadSettings(
            path=data.path, examples=data.examples, held_out_share=config.held_out_share
        )
        return [
            Stage(
                "load_examples",
                "scenarios",
                load,
                settings,
                file="examples.jsonl",
                fingerprint=partial(fingerprint, data.path),
                code=(f"{_HERE}.examples",),
            )
        ]
    return [
        Stage(
            "write_examples",
            "scenarios",
            write,
            WriteSettings(
                task_prompt=config.task_prompt,
                verifier=config.verifier,
                count=data.write,
                model=data.writer,
            ),
            file="examples.jsonl",
            code=(f"{_HERE}.writer",),
            model=data.writer,
        )
    ]


def load(work: Work, settings: LoadSettings) -> dict[str, Any]:
    if settings.examples is not None:
        write_jsonl(work.out, settings.examples)
        return {"examples": len(settings.examples)}
    return make_examples(settings.path, work.out, settings.held_out_share).model_dump()


def write(work: Work, settings: WriteSettings) -> dict[str, Any]:
    """
    Raises:
        LlmFailed: the model fails persistently.
        ExampleError: its examples are unusable.
    """
    examples, report = asyncio.run(
        writer.write_examples(
            work.ask(settings.model),
            settings.task_prompt,
            settings.count,
            answers=settings.verifier is not None,
            verifier=settings.verifier,
        )
    )
    # Fail now, so that a retry asks for other examples instead of caching unusable ones.
    check_examples(examples, settings.verifier)
    write_jsonl(work.out, examples)
    return report.model_dump()
