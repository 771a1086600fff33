"""What every episode of the pocket policy repeats: the system prompt, the frame of a tool call."""

from __future__ import annotations

from environment.email_search import SYSTEM_PROMPT
from environment.email_search.sample.corpus import DOMAIN, QUERY_DATE
from environment.email_search.tools import ANSWER, READ, SEARCH, tool_schemas


def _call(name: str, first_argument: str, opening: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {{"{first_argument}": {opening}"'


def boilerplate() -> list[str]:
    """Text that every episode repeats; each becomes one token."""
    tools = " ".join(
        f"{s['function']['name']}({', '.join(s['function']['parameters']['properties'])})"
        for s in tool_schemas()
    )
    return [
        f"<|im_start|>system\n{SYSTEM_PROMPT}\nTools: {tools}<|im_end|>\n<|im_start|>user\nInbox: ",
        _call(SEARCH, "keywords", "["),
        _call(READ, "message_id", ""),
        _call(ANSWER, "answer", ""),
        '"]}}\n</tool_call>',
        '"}}\n</tool_call>',
        '", "source_ids": ["',
        '", "source_ids": []}}\n</tool_call>',
        '", "',
        "I don't know",
        f"@{DOMAIN}>",
        f"@{DOMAIN}",
        f"\nToday: {QUERY_DATE}\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "\n<|im_start|>user\n<tool_response>\n",
        "\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
        "<tool_response>",
        "</tool_response>",
        "<tool_call>",
        "</tool_call>",
        "From: ",
        "\nTo: ",
        "\nCc: ",
        "\nDate: 20",
        "\nSubject: ",
        "no mails found",
    ]
