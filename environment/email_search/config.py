"""Settings of the email environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from environment.base import StrictModel
from environment.language_model import LlmConfig


class WriterConfig(LlmConfig):
    """The language model that writes scenarios, for ``data.scenarios: llm`` or ``both``."""

    inboxes: int = Field(20, ge=1, description="Write about this many largest inboxes per split.")
    questions_per_inbox: int = Field(20, ge=1, description="Maximum.")
    mails_per_batch: int = Field(20, ge=1, description="Maximum number of emails per prompt.")
    batch_chars: int = Field(40_000, ge=1_000, description="Maximum characters per batch.")
    min_realism: float = Field(
        0.5, ge=0, le=1, description="Drop questions whose writer rates them less realistic."
    )


class EmailDataConfig(StrictModel):
    """Where emails and questions come from."""

    source: Literal["sample", "hub", "maildir", "mbox"] = "sample"
    path: Path | None = Field(None, description="Folder or file of a maildir or mbox source.")
    dataset: str = Field("corbt/enron-emails", description="Hub name or local copy of the emails.")
    dataset_revision: str | None = None
    scenarios: Literal["auto", "hub", "file", "synthesise", "llm", "both"] = Field(
        "auto",
        description="auto: the source's own (sample, hub), otherwise synthesised. llm: written by "
        "the data.writer model; both: llm and synthesised.",
    )
    scenarios_path: Path | None = Field(None, description="A JSONL file, for scenarios: file.")
    writer: WriterConfig = WriterConfig()
    questions: str = "corbt/enron_emails_sample_questions"
    questions_revision: str | None = None
    seed: int = Field(0, description="Seed of the sample corpus.")
    train_inboxes: int = Field(12, ge=1, description="Training inboxes in the sample.")
    test_inboxes: int = Field(4, ge=1, description="Held-out inboxes in the sample.")
    mails_per_inbox: int = Field(250, ge=20)
    max_body_chars: int = Field(5_000, ge=100, description="Drop longer emails.")
    max_recipients: int = Field(30, ge=1, description="Drop emails with more recipients.")

    @field_validator("path", "scenarios_path")
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @model_validator(mode="after")
    def _paths_are_given(self) -> Self:
        if self.source in ("maildir", "mbox") and self.path is None:
            raise ValueError(f"source {self.source} needs path: the folder or file of your emails")
        if self.scenarios == "file" and self.scenarios_path is None:
            raise ValueError("scenarios: file needs scenarios_path")
        return self

    @property
    def scenario_source(self) -> Literal["sample", "hub", "file", "synthesise", "llm", "both"]:
        """``scenarios`` with ``auto`` resolved."""
        if self.scenarios != "auto":
            return self.scenarios
        if self.source in ("sample", "hub"):
            return self.source
        return "synthesise"

    @property
    def llm_writes(self) -> bool:
        """Whether a language model writes scenarios."""
        return self.scenarios in ("llm", "both")


class EmailSearchConfig(StrictModel):
    """What the agent's tools return."""

    name: Literal["email_search"] = "email_search"
    max_hits: int = Field(10, ge=1, le=10, description="Maximum number of search hits.")
    snippet_words: int = Field(15, ge=3, le=100)
    max_mail_chars: int = Field(5_000, ge=200, description="Truncate longer emails when read.")
