"""Settings of the code environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from environment.base import StrictModel
from environment.code.sandbox.base import Limits

# The default commit of the dataset.
MBPP_REVISION = "4bb6404fdc6cacfda99d4ac4205087b89d32030c"


class CodeDataConfig(StrictModel):
    """Where problems come from."""

    source: Literal["bundled", "mbpp", "jsonl"] = "bundled"
    path: Path | None = Field(None, description="A JSONL file in MBPP's format, for source: jsonl.")
    dataset: str = Field(
        "google-research-datasets/mbpp", description="Hub name or local copy of MBPP."
    )
    dataset_config: Literal["full", "sanitized"] = "full"
    dataset_revision: str = MBPP_REVISION
    train_split: str = Field("train", description="MBPP split to train on.")
    test_split: str = Field("test", description="MBPP split to evaluate on.")
    train_limit: int | None = Field(100, ge=1, description="Training problems; null for all.")
    test_limit: int | None = Field(None, ge=1, description="Held-out problems; null for all.")
    visible_tests: int = Field(
        1, ge=0, description="Tests per problem that the agent sees; the rest are hidden."
    )
    verify: bool = Field(
        True, description="Run each problem's own solution and drop problems where it fails."
    )

    @field_validator("path")
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @model_validator(mode="after")
    def _path_is_given(self) -> Self:
        if self.source == "jsonl" and self.path is None:
            raise ValueError("source jsonl needs path: the file of problems")
        return self


class SandboxConfig(StrictModel):
    """Where programs run; see docs/sandboxes.md for how to choose."""

    kind: Literal["isolated", "bubblewrap", "stack", "cwsandbox"] = Field(
        "isolated", description="stack: the sandbox component of the ZenML stack."
    )
    workers: int = Field(4, ge=1, le=64, description="Concurrent programs.")
    limits: Limits = Limits()


class CodeConfig(StrictModel):
    """How the agent works on a problem."""

    name: Literal["code"] = "code"
    style: Literal["refine", "tools"] = Field(
        "refine",
        description="refine: the agent writes programs and sees visible test failures; tools: it "
        "calls execute_code and submit_solution.",
    )
    max_attempts: int = Field(3, ge=1, description="Programs per rollout, for refine.")
    shaping: float = Field(
        0.0, ge=0, lt=1, description="Reward of a failure, times the fraction of tests passed."
    )
    sandbox: SandboxConfig = SandboxConfig()
