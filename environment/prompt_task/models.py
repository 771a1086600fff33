"""Records of the prompt task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import Field

from environment.base import Outcome, Scenario, ScenarioView, StrictModel

_LONGEST = 100_000


class Example(StrictModel):
    """A prompt, and its reference answer if there is one."""

    prompt: str = Field(min_length=1, max_length=_LONGEST, pattern=r"\S")
    answer: str | None = Field(None, max_length=_LONGEST)

    @property
    def digest(self) -> str:
        """Equal for prompts that differ only in white space and case."""
        plain = " ".join(self.prompt.split()).casefold()
        return hashlib.blake2b(plain.encode(errors="replace"), digest_size=8).hexdigest()


class PromptScenario(Scenario):
    """An example with its split; ``id`` is the digest of its prompt."""

    prompt: str
    reference: str | None

    @property
    def view(self) -> ScenarioView:
        return ScenarioView(self.prompt, self.reference or "")


@dataclass(slots=True)
class PromptOutcome(Outcome):
    """
    Args:
        verified: the verifier's verdict on the answer; None if there is no verifier or no answer.
    """

    verified: bool | None = None
