"""A small environment to run agents in: look words up, then answer."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from environment.base import Environment, Outcome, Reward, Scenario, Session, Split, StopReason


class WordScenario(Scenario):
    word: str = "tax"
    split: Split = "train"


class LookUp(BaseModel):
    word: str


class Answer(BaseModel):
    answer: str


class WordSession(Session[Outcome]):
    def __init__(self, scenario: WordScenario, fault: Exception | None) -> None:
        self.user_prompt = f"What is {scenario.word}?"
        self.closed = self.errors = 0
        self._fault = fault
        self.tools = [
            StructuredTool(name="look_up", description="", args_schema=LookUp, func=self._look_up),
            StructuredTool(name="answer", description="", args_schema=Answer, func=self._answer),
        ]

    def outcome(self, stop: StopReason, turns: int) -> Outcome:
        return Outcome(stop, turns, self.errors)

    def tool_failed(self) -> None:
        self.errors += 1

    def close(self) -> None:
        self.closed += 1

    def _look_up(self, word: str) -> str:
        if self._fault:
            raise self._fault
        return f"{word} is a word"

    def _answer(self, answer: str) -> str:
        self.finished = True
        return "done"


class WordEnvironment(Environment[WordScenario, Outcome]):
    """
    Args:
        fault: what the tool ``look_up`` raises.
        reward_fault: what the reward raises.
    """

    name = "words"
    system_prompt = "You know words."

    def __init__(
        self, fault: Exception | None = None, reward_fault: Exception | None = None
    ) -> None:
        self.sessions: list[WordSession] = []
        self._fault, self._reward_fault = fault, reward_fault
        tools = WordSession(WordScenario(id=""), None).tools
        self.tool_schemas = [convert_to_openai_tool(tool) for tool in tools]

    def scenarios(
        self, split: Split, limit: int | None = None, seed: int = 0
    ) -> Sequence[WordScenario]:
        return [WordScenario(id="1")][:limit]

    def session(self, scenario: WordScenario) -> WordSession:
        self.sessions.append(WordSession(scenario, self._fault))
        return self.sessions[-1]

    def reward(self, scenario: WordScenario, outcome: Outcome) -> Reward:
        if self._reward_fault:
            raise self._reward_fault
        success = outcome.stop is StopReason.FINISHED
        return Reward(float(success), success, str(outcome.stop))
