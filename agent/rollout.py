"""Runs one rollout: a LangGraph ReAct agent in a fresh session of an environment.

The graph has two nodes, the model and the tools, and is compiled once; its context carries the
rollout's state. ``langchain.agents.create_agent`` builds a similar graph at about twice the cost per
turn, which matters for small policies (benchmarks/rl_step.py).

A rollout always returns. The agent's mistakes end it with a stop reason and are scored; a server
failure or timeout also ends it, and the trainer excludes it and counts the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypedDict

import openai
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from pydantic import TypeAdapter, ValidationError

from agent.capture import recording
from agent.failures import failure_kind
from agent.hosted.redaction import redact
from agent.model import ChatModel
from environment.base import (
    Environment,
    Outcome,
    Reward,
    Scenario,
    Session,
    StopReason,
    WorldFailed,
    is_utf8,
    stop_clock,
)
from environment.language_model import LlmBudgetSpent

_MALFORMED = StopReason.MALFORMED_CALL
# What a call begins with in the dialects that models are trained on.
_CALL = re.compile(
    r'<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>|^\s*\{\s*"(?:name|parameters)"|^\s*\[\s*\w+\('
)
NOT_THE_AGENTS_FAULT = frozenset({StopReason.TIMEOUT, StopReason.ERROR})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one rollout.

    Args:
        max_turns: model replies.
        max_tokens: tokens of the whole conversation.
        timeout_s: wall-clock seconds, excluding time in the environment's queues: an agent must
            not time out because of others.
    """

    max_turns: int
    max_tokens: int
    timeout_s: float


@dataclass(slots=True)
class Rollout:
    """The result of a scenario.

    Args:
        messages: the conversation in OpenAI's format.
        replies: the raw body of each model server reply, including token ids.
        error: what failed, if ``stop`` is not the agent's fault.
        failure: the kind of failure, in one word.
    """

    scenario: Scenario
    messages: list[dict[str, Any]]
    replies: list[dict[str, Any]]
    outcome: Outcome
    reward: Reward
    seconds: float
    error: str = ""
    failure: str = ""

    @property
    def stop(self) -> StopReason:
        return self.outcome.stop

    @property
    def prompt_tokens(self) -> int:
        return sum((reply.get("usage") or {}).get("prompt_tokens", 0) for reply in self.replies)

    @property
    def completion_tokens(self) -> int:
        return sum((reply.get("usage") or {}).get("completion_tokens", 0) for reply in self.replies)


class _State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@dataclass(slots=True)
class _Context:
    """A rollout's state in the graph."""

    model: ChatModel
    session: Session[Any]
    limits: Limits
    seed: int | None
    replies: list[dict[str, Any]]
    messages: list[AnyMessage] = field(default_factory=list)
    turns: int = 0
    stop: StopReason | None = None


async def _ask_model(state: _State, runtime: Runtime[_Context]) -> dict[str, list[AnyMessage]]:
    context = runtime.context
    seed = None if context.seed is None else seed_from(context.seed, context.turns)
    try:
        reply = await context.model.reply(state["messages"], seed)
    except openai.BadRequestError as error:
        if not _is_over_length(error):
            raise
        context.stop = StopReason.OVER_LENGTH
        return {"messages": []}
    context.turns += 1
    context.messages.append(reply)
    context.stop = _stop_after_reply(reply, context.session.takes_text)
    return {"messages": [reply]}


def _is_over_length(error: openai.BadRequestError) -> bool:
    # OpenAI reports it in the code, vLLM in the message.
    return error.code == "context_length_exceeded" or "maximum context length" in str(error)


def _stop_after_reply(reply: AIMessage, takes_text: bool) -> StopReason | None:
    if reply.tool_calls and not reply.invalid_tool_calls:
        # A lone surrogate is valid JSON, but cannot be sent back to the model.
        return None if is_utf8(json.dumps(reply.tool_calls, ensure_ascii=False)) else _MALFORMED
    if reply.response_metadata.get("finish_reason") == "length":
        return StopReason.OVER_LENGTH
    if reply.invalid_tool_calls:
        return _MALFORMED
    if takes_text and reply.text.strip():
        return None if is_utf8(reply.text) else _MALFORMED
    return _MALFORMED if _CALL.search(reply.text) else StopReason.NO_TOOL_CALL


async def _act(state: _State, runtime: Runtime[_Context]) -> dict[str, list[AnyMessage]]:
    """Execute the agent's tool calls, or its text if that is a move."""
    context = runtime.context
    request = state["messages"][-1]
    assert isinstance(request, AIMessage)
    answers = await _answers(context, request)
    context.messages += answers
    if context.session.finished:
        context.stop = StopReason.FINISHED
    elif context.turns >= context.limits.max_turns:
        context.stop = StopReason.OUT_OF_TURNS
    elif _last_length(context.replies) >= context.limits.max_tokens:
        context.stop = StopReason.OVER_LENGTH
    return {"messages": answers}


async def _answers(context: _Context, request: AIMessage) -> list[AnyMessage]:
    session = context.session
    answers: list[AnyMessage] = []
    for call in request.tool_calls:
        text = await _call_tool(session, call["name"], call["args"])
        answers.append(ToolMessage(text, tool_call_id=call["id"], name=call["name"]))
        if session.finished:
            break
    if not request.tool_calls:
        text = await session.take_text(request.text)
        if not session.finished:
            answers.append(HumanMessage(text))
    return answers


@contextmanager
def _stoppable(clock: asyncio.Timeout) -> Iterator[None]:
    """Let the environment stop this clock (``off_the_clock``)."""
    outer = stop_clock.set(partial(_stopped, clock))
    try:
        yield
    finally:
        stop_clock.reset(outer)


@contextmanager
def _stopped(clock: asyncio.Timeout) -> Iterator[None]:
    due = clock.when()
    if due is None:  # already stopped
        yield
        return
    loop = asyncio.get_running_loop()
    left = due - loop.time()
    clock.reschedule(None)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the rollout is over
            clock.reschedule(loop.time() + left)


async def _call_tool(session: Session[Any], name: str, arguments: dict[str, Any]) -> str:
    """The tool's answer, or an error message for the agent."""
    tools = {tool.name: tool for tool in session.tools}
    if name not in tools:
        session.tool_failed()
        available = f"the tools are {', '.join(tools)}" if tools else "there is none here"
        return f"error: there is no tool {name}; {available}"
    try:
        # Validate separately: a ValidationError inside a tool is a bug of the tool.
        TypeAdapter(tools[name].get_input_schema()).validate_python(arguments)
    except ValidationError as error:
        session.tool_failed()
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        return f"error: {where}: {first['msg']}"
    # Not invoke(), which mistakes arguments with a key "type" for a LangChain tool call.
    if getattr(tools[name], "coroutine", None):
        return str(await tools[name].arun(arguments))
    return str(tools[name].run(arguments))


def _last_length(replies: Sequence[dict[str, Any]]) -> int:
    return (replies[-1].get("usage") or {}).get("total_tokens", 0) if replies else 0


# Async, because LangGraph would run plain functions in threads, at a much higher cost.
async def _after_model(state: _State, runtime: Runtime[_Context]) -> str:
    return END if runtime.context.stop else "tools"


async def _after_tools(state: _State, runtime: Runtime[_Context]) -> str:
    return END if runtime.context.stop else "model"


def _compile() -> Any:
    graph = StateGraph(_State, context_schema=_Context)
    graph.add_node("model", _ask_model)
    graph.add_node("tools", _act)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", _after_model, ["tools", END])
    graph.add_conditional_edges("tools", _after_tools, ["model", END])
    return graph.compile()


_GRAPH = _compile()


def seed_from(*parts: object) -> int:
    """A 31-bit seed from any parts, the same in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


@dataclass(slots=True)
class Play:
    """An agent's behaviour in a session; see ``Rollout`` for the fields."""

    messages: list[dict[str, Any]]
    replies: list[dict[str, Any]]
    stop: StopReason
    turns: int
    seconds: float
    error: str
    failure: str


async def run_rollout(
    model: ChatModel,
    environment: Environment[Any, Any],
    scenario: Scenario,
    limits: Limits,
    seed: int | None = None,
) -> Rollout:
    """Run the agent on a scenario and score the outcome.

    Args:
        seed: makes sampling reproducible on servers that support seeds.

    Raises:
        Exception: a bug in the environment (its tools or reward).
    """
    session = environment.session(scenario)
    try:
        played = await play(model, session, environment.system_prompt, limits, seed)
        outcome = session.outcome(played.stop, played.turns)
        return Rollout(
            scenario=scenario,
            messages=played.messages,
            replies=played.replies,
            outcome=outcome,
            reward=environment.score(scenario, outcome),
            seconds=played.seconds,
            error=played.error,
            failure=played.failure,
        )
    finally:
        session.close()


async def play(
    model: ChatModel,
    session: Session[Any],
    system_prompt: str,
    limits: Limits,
    seed: int | None = None,
) -> Play:
    """Run the agent in a session, which stays open.

    Raises:
        Exception: a bug in a tool.
    """
    started = time.monotonic()
    error = failed = ""
    with recording() as replies:
        start: list[AnyMessage] = [SystemMessage(system_prompt), HumanMessage(session.user_prompt)]
        context = _Context(model, session, limits, seed, replies, messages=[*start])
        try:
            async with asyncio.timeout(limits.timeout_s) as clock:
                with _stoppable(clock):
                    await _GRAPH.ainvoke(
                        {"messages": start},
                        {"recursion_limit": 2 * limits.max_turns + 2},
                        context=context,
                    )
        except (TimeoutError, openai.APITimeoutError) as failure:
            if isinstance(failure, TimeoutError) and not clock.expired():
                raise  # raised by a tool
            context.stop = StopReason.TIMEOUT
            error, failed = f"longer than {limits.timeout_s:g} s", "timeout"
        except (openai.OpenAIError, LlmBudgetSpent) as failure:
            context.stop = StopReason.ERROR
            error, failed = redact(f"{type(failure).__name__}: {failure}"), failure_kind(failure)
        except WorldFailed as failure:
            context.stop = StopReason.ERROR
            error, failed = redact(f"{type(failure).__name__}: {failure}"), failure.kind
    return Play(
        messages=[_as_openai(message) for message in context.messages],
        replies=replies,
        stop=context.stop or StopReason.ERROR,
        turns=context.turns,
        seconds=time.monotonic() - started,
        error=error,
        failure=failed,
    )


def _as_openai(message: AnyMessage) -> dict[str, Any]:
    converted = dict(convert_to_openai_messages([message])[0])
    # LangChain omits invalid calls, but judges must see them.
    for call in getattr(message, "invalid_tool_calls", []):
        function = {"name": call["name"] or "", "arguments": call["args"] or ""}
        invalid = {"type": "function", "id": call["id"] or "", "function": function}
        converted.setdefault("tool_calls", []).append(invalid)
    return converted
