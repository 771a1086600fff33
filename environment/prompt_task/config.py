"""Settings of the prompt task: what the agent is told, and how its answers are verified."""

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
    examples: tuple[Example, ...] | None = Field(None, description="The examples themselves.")
    write: int | None = Field(None, ge=2, description="Examples for the writer to write.")
    writer: LlmConfig = Field(default_factory=LlmConfig, description="The model that writes them.")

    @field_validator("path")
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None


class PromptTaskConfig(StrictModel):
    """A task in words, over examples of it."""

    name: Literal["prompt_task"] = "prompt_task"
    task_prompt: str = Field(
        "You are a helpful assistant.",
        min_length=1,
        max_length=20_000,
        description="The system prompt: what every agent is told.",
    )
    verifier: VerifierName | None = Field(
        None,
        description="What compares an answer with its example's: exact, numeric, regex (the "
        "example's answer is the pattern) or contains. null: nothing does, which takes "
        "training.reward: ruler.",
    )
    ignore_case: bool = Field(False, description="Of exact, regex and contains.")
    tolerance: float = Field(
        1e-6, ge=0, allow_inf_nan=False, description="By how much a number may be off, for numeric."
    )
    held_out_share: float = Field(
        0.2, ge=0, lt=1, description="Share of the examples that are not trained on."
    )
