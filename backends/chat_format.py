"""How a base model takes a conversation and writes a tool call, read from its chat template.

A canned conversation is rendered, and what comes out shows whether the model would see its tools, calls,
results and system text, in which dialect it writes a call, and which token ends its turn. Where a
template lacks tools or refuses system text, ours is put before it. A template that cannot work is
refused before the first rollout.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase as Tokenizer

from backends.config import BackendConfig
from backends.errors import BackendError
from backends.loading import load_tokenizer
from backends.tool_calls import Call, Dialect, ToolParser, parse_tool_calls, template_messages

log = logging.getLogger(__name__)

_TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, TemplateError)

_THINKING, _THOUGHT = "<think>", "</think>"
_SYSTEM, _USER, _ANSWER = "Mark of the system.", "Mark of the user.", "Mark of the answer."
_RESULTS = ["Mark of a result.", "Mark of another."]
_CALLS = [("first_tool", "Mark of a call."), ("second_tool", "Mark of a second.")]
_START = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A tool.",
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
            },
        },
    }
    for name, _ in _CALLS
]


class _Unfit(ValueError):
    """Why a template does not work as it is."""


class _OtherDialect(_Unfit):
    """It works, but writes calls in another dialect."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A base model's conversations.

    Attributes:
        dialect: how it writes calls.
        template: the chat template in use.
        shows_tools: whether its own template does.
        takes_system: whether its own template does.
        several_calls: whether one turn may hold several.
        continues: whether every prompt begins with the previous one and its completion, so that a
            conversation is one training row.
        thinks: whether a prompt ends inside the model's thinking.
        end_ids: the tokens that end a turn.
    """

    tokenizer: Tokenizer
    dialect: Dialect
    template: str
    shows_tools: bool
    takes_system: bool
    several_calls: bool
    continues: bool
    thinks: bool
    end_ids: tuple[int, ...]

    def prompt_ids(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int]:
        """
        Raises:
            TEMPLATE_ERRORS: the template refuses the conversation.
        """
        ids: list[int] = self.tokenizer.apply_chat_template(
            template_messages(messages),
            tools=tools or None,
            chat_template=self.template,
            add_generation_prompt=True,
            return_dict=False,
        )
        return ids

    def parse(self, text: str) -> tuple[str | None, list[Call]]:
        """Split a completion into content and calls."""
        content, calls = parse_tool_calls(text, self.dialect, self.thinks)
        if len(calls) > 1 and not self.several_calls:
            return text, []
        return content, calls

    def describe(self) -> list[str]:
        """What a user should know, a line each."""
        lines = [f"tool calls in the {self.dialect} dialect"]
        if not self.shows_tools:
            lines.append("its chat template shows no tools in a known form: ours is put before it")
        if not self.takes_system:
            lines.append("its chat template has no system text: it goes into the first message")
        if not self.several_calls:
            lines.append("one tool call a turn")
        if not self.continues:
            lines.append(
                "its chat template rewrites earlier turns: each is a training row of its own"
            )
        return lines


def load_chat_format(config: BackendConfig) -> ChatFormat:
    """The tokenizer of the base model, with its chat format.

    Raises:
        BackendError: there is no such model, or agents cannot use it.
    """
    tokenizer = load_tokenizer(config.base_model)
    chat = read_chat_format(tokenizer, config.base_model, config.tool_parser)
    log.info("%s: %s", config.base_model, "; ".join(chat.describe()))
    return chat


def read_chat_format(
    tokenizer: Tokenizer, base_model: str, parser: ToolParser = "auto"
) -> ChatFormat:
    """
    Raises:
        BackendError: agents cannot use this model.
    """
    own = tokenizer.chat_template
    if isinstance(own, dict):  # several templates, by purpose
        own = own.get("tool_use") or own.get("default")
    if not own:
        raise BackendError(f"{base_model} has no chat template: use an instruct model")
    faults: list[_Unfit] = []
    dialects: Sequence[Dialect] = get_args(Dialect) if parser == "auto" else [parser]
    for adds_tools, moves_system in itertools.product((False, True), repeat=2):
        if parser != "auto" and any(isinstance(fault, _OtherDialect) for fault in faults):
            break  # ours would be read, but is not what the model was trained on
        template = _before(own, adds_tools, moves_system)
        for dialect in dialects[:1] if adds_tools else dialects:  # ours is in the first, Hermes'
            try:
                return _read(tokenizer, template, dialect, adds_tools, moves_system)
            except _Unfit as error:
                faults.append(error)
    fault = next((f for f in faults if isinstance(f, _OtherDialect)), faults[-1])
    way_out = "use another instruct model"
    if parser != "auto" and isinstance(fault, _OtherDialect):
        way_out = f"which backend.tool_parser: {parser} does not read; set it to auto"
    raise BackendError(f"{base_model} cannot be an agent: {fault}; {way_out}")


def _before(own: str, adds_tools: bool, moves_system: bool) -> str:
    names = ["tools.jinja"] * adds_tools + ["system.jinja"] * moves_system
    return "".join((_TEMPLATES / name).read_text().rstrip("\n") for name in names) + own


def _read(
    tokenizer: Tokenizer, template: str, dialect: Dialect, adds_tools: bool, moves_system: bool
) -> ChatFormat:
    probe = _Probe(tokenizer, template)
    probe.check_visible()
    calls = probe.calls_in(probe.written, dialect)
    if calls is None:
        raise _Unfit("its chat template does not begin the model's turn")
    if calls != _CALLS[:1]:
        start = probe.written[:80]
        raise _OtherDialect(f"its chat template writes a tool call as {start!r}")
    ids = {tokenizer.eos_token_id, probe.end_id} - {None}
    if not ids:
        raise _Unfit("no token ends its turns")
    return ChatFormat(
        tokenizer,
        dialect,
        template,
        shows_tools=not adds_tools,
        takes_system=not moves_system,
        several_calls=probe.takes_several_calls(dialect),
        continues=probe.continues,
        thinks=probe.thinks,
        end_ids=tuple(sorted(ids)),
    )


class _Probe:
    """The canned conversation, rendered.

    Attributes:
        prompt, next_prompt: the prompts of the first two turns.
        written: the first turn's completion, a tool call.
        thinks: whether a prompt ends inside the model's thinking.
        end_id: the token that the template writes after a turn.

    Raises:
        _Unfit: the template fails on it, or does not begin the model's turn.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        self._tokenizer, self._template = tokenizer, template
        turn, results = _turn(_CALLS[:1])
        self.prompt = self._render(_START, prompt=True)
        self.next_prompt = self._render([*_START, turn, *results], prompt=True)
        self.thinks = self.prompt.rstrip().endswith(_THINKING)
        self.end_id = self._end_id()
        self.written = self._written(turn)

    def check_visible(self) -> None:
        """
        Raises:
            _Unfit: the model would not see part of the conversation.
        """
        for what, text in (("system text", _SYSTEM), ("tools", _CALLS[1][0]), ("user text", _USER)):
            if text not in self.prompt:
                raise _Unfit(f"its chat template does not show {what}")
        shown = [self.next_prompt.find(text) for text in (_USER, _CALLS[0][1], _RESULTS[0])]
        for what, at in zip(("user text", "tool calls", "tool results"), shown, strict=True):
            if at < 0:
                raise _Unfit(f"its chat template does not show {what}")
        if shown != sorted(shown):
            raise _Unfit("its chat template shows the turns in another order")

    @property
    def continues(self) -> bool:
        return self.next_prompt.startswith(self.prompt + self.written)

    def calls_in(self, written: str, dialect: Dialect) -> list[tuple[str, str]] | None:
        """The calls of a completion, or None if there is other text beside them."""
        content, calls = parse_tool_calls(written, dialect)
        if calls and content and not content.endswith(_THOUGHT):
            return None
        functions = [call["function"] for call in calls]
        return [(f["name"], json.loads(f["arguments"]).get("text")) for f in functions]

    def takes_several_calls(self, dialect: Dialect) -> bool:
        turn, results = _turn(_CALLS)
        try:
            prompt = self._render([*_START, turn, *results], prompt=True)
            written = self._written(turn)
        except _Unfit:
            return False
        return self.calls_in(written, dialect) == _CALLS and _RESULTS[1] in prompt

    def _written(self, turn: Mapping[str, Any]) -> str:
        whole = self._render([*_START, turn])
        for start in (self.prompt, self.prompt.rstrip().removesuffix(_THINKING)):
            if whole.startswith(start):
                end = self._tokenizer.decode([self.end_id]) if self.end_id is not None else None
                return whole[len(start) :].partition(end)[0] if end else whole[len(start) :]
        raise _Unfit("its chat template does not begin the model's turn")

    def _end_id(self) -> int | None:
        whole = self._render([*_START, {"role": "assistant", "content": _ANSWER}])
        after = whole.rpartition(_ANSWER)[2].lstrip()
        ids = self._tokenizer.encode(after, add_special_tokens=False)
        added = self._tokenizer.added_tokens_decoder
        return ids[0] if ids and ids[0] in added and added[ids[0]].special else None

    def _render(self, messages: Sequence[Mapping[str, Any]], prompt: bool = False) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    template_messages(messages),
                    tools=_TOOLS,
                    chat_template=self._template,
                    add_generation_prompt=prompt,
                    tokenize=False,
                )
            )
        except TEMPLATE_ERRORS as error:
            raise _Unfit(f"its chat template fails: {str(error).strip()[:200]}") from error


def _turn(calls: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A turn with these calls, and its results."""
    made, results = [], []
    for index, (name, text) in enumerate(calls):
        function = {"name": name, "arguments": {"text": text}}
        id_ = f"callid{index:03}"
        made.append({"id": id_, "type": "function", "function": function})
        result = {"role": "tool", "tool_call_id": id_, "name": name, "content": _RESULTS[index]}
        results.append(result)
    return {"role": "assistant", "content": None, "tool_calls": made}, results
