"""A hand-written problem."""

from __future__ import annotations

from dataclasses import dataclass

from environment.code.models import CodeProblem


@dataclass(frozen=True, slots=True)
class Written:
    """
    Args:
        kind: ``easy``, ``medium`` or ``hard``.
        solution: a program that passes all tests.
        visible: the one visible test.
        wrong: typical wrong programs; each fails a hidden test.
    """

    kind: str
    text: str
    solution: str
    visible: str
    hidden: tuple[str, ...]
    wrong: tuple[str, ...]

    def problem(self, number: int) -> CodeProblem:
        """Odd numbers go to the training split, even ones to the test split."""
        return CodeProblem(
            id=f"written-{number}",
            split="train" if number % 2 else "test",
            text=self.text,
            visible_tests=(self.visible,),
            hidden_tests=self.hidden,
            solution=self.solution.strip(),
            kind=self.kind,
        )
