"""Prompts of the code agent, and how its replies are parsed."""

from __future__ import annotations

import re
import textwrap

REFINE_SYSTEM = "You write Python. Answer with the whole program in a ```python block."
TOOLS_SYSTEM = (
    "You solve a task in Python. Try code with execute_code; it starts afresh every time, and shows "
    "what was printed and raised. When the program is right, hand all of it to submit_solution."
)
# Accepts any info string: otherwise the closing fence of ```python3 would open a block.
_BLOCK = re.compile(r"```[^`\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


def task(text: str, visible_tests: tuple[str, ...]) -> str:
    """The first message to the agent."""
    if not visible_tests:
        return text
    return f"{text}\nIt must pass:\n" + "\n".join(visible_tests)


def try_again(attempt: int, max_attempts: int, feedback: str) -> str:
    """The message after a program that failed the visible tests; ``attempt`` counts from 1."""
    return f"Attempt {attempt} of {max_attempts} failed: {feedback}\nWrite the whole program again."


def program_in(reply: str) -> str | None:
    """The reply's last code block, or the whole reply without one; None if that is blank."""
    blocks = _BLOCK.findall(reply)
    # Blocks inside Markdown lists are indented.
    return textwrap.dedent(blocks[-1] if blocks else reply).strip() or None
