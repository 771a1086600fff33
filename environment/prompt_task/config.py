"""Settings of the prompt task."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from environment.base import StrictModel
from environment.language_model import LlmConfig
from environment.prompt_task.models import Example
from environment.prompt_task.verifiers import VerifierName


class PromptTaskDataConfig(StrictModel):
    """Where the examples come from."""

    path: Path | None = Field(
        None, description='A JSONL file, {"prompt": "...", "answer": "..."} on each line.'
    )
    examples: tuple[Example, ...] | None = Field(None, description="Inline examples.")
    write: int | None = Field(None, ge=2, description="Have the writer write this many examples.")
    writer: LlmConfig = Field(default_factory=LlmConfig, description="The model that writes them.")

    @field_validator("path")
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None


class PromptTaskConfig(StrictModel):
    """A task described by a prompt and examples."""

    name: Literal["prompt_task"] = "prompt_task"
    task_prompt: str = Field(
        "You are a helpful assistant.",
        min_length=1,
        max_length=20_000,
        description="The system prompt.",
    )
    verifier: VerifierName | None = Field(
        None,
        description="How answers are compared with the examples': exact, numeric, regex (the "
        "example's answer is the pattern) or contains. null requires training.reward: ruler.",
    )
    ignore_case: bool = Field(False, description="For exact, regex and contains.")
    tolerance: float = Field(
        1e-6, ge=0, allow_inf_nan=False, description="Absolute tolerance, for numeric."
    )
    held_out_share: float = Field(0.2, ge=0, lt=1, description="Held-out fraction of examples.")
