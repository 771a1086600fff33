"""What a code agent is told, and how its reply is read."""

from __future__ import annotations

import re
import textwrap

REFINE_SYSTEM = "You write Python. Answer with the whole program in a ```python block."
TOOLS_SYSTEM = (
    "You solve a task in Python. Try code with execute_code; it starts afresh every time, and shows "
    "what was printed and raised. When the program is right, hand all of it to submit_solution."
)
# Whatever stands after the opening fence: else the closing one of ```python3 would open a block.
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
    """The program of a reply: its last code block, or all of it where there is none.

    Returns:
        None if the reply holds nothing.
    """
    blocks = _BLOCK.findall(reply)
    program = textwrap.dedent(blocks[-1] if blocks else reply).strip()  # lists indent their blocks
    return program or None
