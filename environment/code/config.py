"""Settings of the code environment: where its problems come from and how the agent works on them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from environment.base import StrictModel
from environment.code.sandbox.base import Limits

# The commit of the data set that problems are read from, unless another one is asked for.
MBPP_REVISION = "4bb6404fdc6cacfda99d4ac4205087b89d32030c"


class CodeDataConfig(StrictModel):
    """Where problems come from."""

    source: Literal["bundled", "mbpp", "jsonl"] = "bundled"
    path: Path | None = Field(None, description="A file of problems in MBPP's form, for jsonl.")
    dataset: str = Field(
        "google-research-datasets/mbpp", description="Hub name or local copy of MBPP."
    )
    dataset_config: Literal["full", "sanitized"] = "full"
    dataset_revision: str = MBPP_REVISION
    train_split: str = Field("train", description="MBPP's own split to train on.")
    test_split: str = Field("test", description="MBPP's own split to evaluate on.")
    train_limit: int | None = Field(100, ge=1, description="Problems to train on; null for all.")
    test_limit: int | None = Field(None, ge=1, description="Problems held out; null for all.")
    visible_tests: int = Field(
        1, ge=0, description="Of a problem's tests, how many the agent sees; the rest decide."
    )
    verify: bool = Field(
        True, description="Leave out problems whose own solution fails, which is run to see."
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
    """Where programs run. docs/sandboxes.md says which is for whom."""

    kind: Literal["isolated", "bubblewrap", "stack", "cwsandbox"] = Field(
        "isolated", description="stack: the sandbox component of the ZenML stack."
    )
    workers: int = Field(4, ge=1, le=64, description="Programs at once.")
    limits: Limits = Limits()


class CodeConfig(StrictModel):
    """How an agent works on a problem."""

    name: Literal["code"] = "code"
    style: Literal["refine", "tools"] = Field(
        "refine",
        description="refine: the agent writes programs and gets the visible tests' errors; tools: "
        "it calls execute_code and submit_solution.",
    )
    max_attempts: int = Field(3, ge=1, description="Programs of one rollout, for refine.")
    shaping: float = Field(
        0.0, ge=0, lt=1, description="Paid for the share of hidden tests that a failure passes."
    )
    sandbox: SandboxConfig = SandboxConfig()
