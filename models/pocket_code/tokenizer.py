"""What every episode of the code policy repeats: the prompts' frames and Python's phrases."""

from __future__ import annotations

from environment.code import prompts

MAX_ATTEMPTS = 3
END = "<|im_end|>"
TO_AGENT = f"{END}\n<|im_start|>assistant\n"
TO_USER = "\n<|im_start|>user\n"
_MARK = "\0"


def boilerplate() -> list[str]:
    """Text that becomes one token each, the longest where several fit."""
    again = [
        prompts.try_again(attempt, MAX_ATTEMPTS, _MARK).split(_MARK)
        for attempt in range(1, MAX_ATTEMPTS)
    ]
    return [
        f"<|im_start|>system\n{prompts.REFINE_SYSTEM}\n{END}{TO_USER}",
        prompts.task("", ("assert ",)),
        *(TO_USER + before for before, _ in again),
        again[0][1] + TO_AGENT,
        TO_AGENT,
        "```python\ndef ",
        "```python\nimport math\ndef ",
        "):\n    return ",
        "\n```",
        *_PYTHON,
    ]


_PYTHON = (
    " for x in xs",
    " for w in s.split()",
    " for c in s",
    " for k, v in d.items()",
    "], default=0)",
    "sum(",
    "sorted(",
    "max([",
    "min([",
    "math.prod(",
    "len([",
    "len(set(",
    "'-'.join(",
    "' '.join(",
    "''.join(",
    ".upper()",
    ".lower()",
    ".title()",
    ".startswith(",
    ".endswith(",
    ".isdigit()",
    ".isalpha()",
    ".isalnum()",
    ".isupper()",
    ".islower()",
    "'aeiouAEIOU'",
    "[::-1]",
    " not in ",
    " == ",
    " != ",
    " > ",
    " < ",
    " >= ",
    " <= ",
    " % ",
    " // ",
    " * ",
    " ** ",
    " + ",
)
