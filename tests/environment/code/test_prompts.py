"""How a program is found in a reply."""

from __future__ import annotations

import pytest

from environment.code.prompts import program_in

PROGRAM = "def f(x):\n    return x"


@pytest.mark.parametrize("language", ["", "python", "py", "Python", "python3", " python", "py\r"])
def test_a_block_is_read_whatever_its_language_is_called(language: str) -> None:
    assert program_in(f"Here:\n```{language}\n{PROGRAM}\n```\nIt works.") == PROGRAM


@pytest.mark.parametrize(
    "reply",
    [
        PROGRAM,
        f"```python\n{PROGRAM}",
        f"```\nold\n```\nbetter:\n```\n{PROGRAM}\n```",
        "1. So:\n   ```python\n   def f(x):\n       return x\n   ```",
    ],
    ids=["no block", "an open one", "the last of two", "indented"],
)
def test_the_program_of_a_reply(reply: str) -> None:
    assert program_in(reply) == PROGRAM


@pytest.mark.parametrize("reply", ["", " \n", "```python\n```", "```\n\n```"])
def test_a_reply_without_a_program(reply: str) -> None:
    assert program_in(reply) is None
