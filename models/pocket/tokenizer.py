"""The pocket policy's tokenizer: small, and cut for copying.

A policy of three million parameters copies well when what it copies is cut the same way wherever
it stands. So the space before a capital or a digit is a token of its own (``Quasar`` after a quote
and after a space share their tokens), digits go in pairs, and what every episode repeats (the
system prompt, the frame of a tool call) is one token each.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from environment.email_search import SYSTEM_PROMPT
from environment.email_search.sample.corpus import DOMAIN, QUERY_DATE
from environment.email_search.tools import ANSWER, READ, SEARCH, tool_schemas

TEMPLATE = Path(__file__).parent / "chat_template.jinja"
VOCABULARY = 1024
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_PIECES = r"\p{Lu}\p{Ll}*| ?\p{Ll}+|\p{N}{1,2}|[^\s\p{L}\p{N}]+|\s+"


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


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``VOCABULARY`` tokens over ``texts``, with its chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    phrases = boilerplate()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(phrases),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE.read_text(),
    )
