"""The records of the prompt task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import Field

from environment.base import Outcome, Scenario, StrictModel

_LONGEST = 100_000


class Example(StrictModel):
    """A prompt, and the reference answer where there is one."""

    prompt: str = Field(min_length=1, max_length=_LONGEST, pattern=r"\S")
    answer: str | None = Field(None, max_length=_LONGEST)

    @property
    def digest(self) -> str:
        """The same for prompts that differ in white space and case alone."""
        plain = " ".join(self.prompt.split()).casefold()
        return hashlib.blake2b(plain.encode(errors="replace"), digest_size=8).hexdigest()


class PromptScenario(Scenario):
    """An example in its split; ``id`` is the digest of its prompt."""

    prompt: str
    reference: str | None

    @property
    def question(self) -> str:
        """The prompt, by the name that reports know it by."""
        return self.prompt

    @property
    def answer(self) -> str:
        """The reference, by the name that reports know it by."""
        return self.reference or ""


@dataclass(slots=True)
class PromptOutcome(Outcome):
    """
    Args:
        answer: what the agent said; None if it said nothing that counts.
        verified: what the verifier says of it; None if there is none, or nothing to verify.
    """

    answer: str | None = None
    verified: bool | None = None
