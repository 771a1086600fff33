"""The form in which a problem is written by hand."""

from __future__ import annotations

from dataclasses import dataclass

from environment.code.models import CodeProblem


@dataclass(frozen=True, slots=True)
class Written:
    """
    Args:
        kind: ``easy``, ``medium`` or ``hard``.
        solution, wrong: a program that passes all tests, and typical ones that fail a hidden one.
        visible: the one test that is shown.
    """

    kind: str
    text: str
    solution: str
    visible: str
    hidden: tuple[str, ...]
    wrong: tuple[str, ...]

    def problem(self, number: int) -> CodeProblem:
        """Odd numbers go to the split train, even ones to test."""
        return CodeProblem(
            id=f"written-{number}",
            split="train" if number % 2 else "test",
            text=self.text,
            visible_tests=(self.visible,),
            hidden_tests=self.hidden,
            solution=self.solution.strip(),
            kind=self.kind,
        )
