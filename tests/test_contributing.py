"""The environment that CONTRIBUTING shows works as printed."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import environment
from environment.base import Reward, StopReason, UndeclaredReward
from environment.registry import environment_package
from pipelines.config import ConfigError, load_config

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def printed(language: str) -> str:
    """The one block of CONTRIBUTING in a language that is a whole file."""
    blocks = re.findall(rf"```{language}\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    (source,) = [block for block in blocks if "guess" in block.lower()]
    return str(source)


@pytest.fixture(scope="module")
def guess(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The printed module, saved where another part of the package ``environment`` lies."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "guess").mkdir()
    (folder / "guess" / "__init__.py").write_text(printed("python"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(environment, "__path__", [*environment.__path__, str(folder)])
        yield importlib.import_module("environment.guess")
        sys.modules.pop("environment.guess")


def opened(guess: ModuleType, folder: Path) -> environment.base.Environment:
    numbers = folder / "numbers"
    numbers.write_text(json.dumps({"train": [7], "test": [3]}))
    return guess.PACKAGE.open({"numbers": numbers}, guess.Config(), 6)


def test_a_configuration_selects_it(guess: ModuleType, tmp_path: Path) -> None:
    assert environment_package("guess") is guess.PACKAGE
    file = tmp_path / "guess.yaml"
    file.write_text(printed("yaml"))
    assert load_config([file]).environment == guess.Config()
    with pytest.raises(ConfigError, match=r"unknown key environment\.numbers"):
        load_config([file], ["environment.numbers=3"])


def test_its_game_can_be_won_with_its_tool(guess: ModuleType, tmp_path: Path) -> None:
    played = opened(guess, tmp_path)
    (scenario,) = played.scenarios("train", 1)
    session = played.session(scenario)
    (tool,) = session.tools
    low, high, turns = 1, 40, 0
    while not session.finished:
        turns += 1
        middle = (low + high) // 2
        answer = tool.run({"number": middle})
        low, high = (middle + 1, high) if answer == "higher" else (low, middle - 1)
    reward = played.score(scenario, session.outcome(StopReason.FINISHED, turns))
    assert (reward.success, reward.value, reward.reason) == (True, 1.0, "right")


def test_a_game_that_is_not_won_is_worth_less_the_further_off(
    guess: ModuleType, tmp_path: Path
) -> None:
    played = opened(guess, tmp_path)
    (scenario,) = played.scenarios("test", 1)
    near, far = (
        played.score(scenario, guess.Outcome(StopReason.OUT_OF_TURNS, 6, off_by=off_by))
        for off_by in (1, 30)
    )
    assert not near.success
    assert 0 < far.value < near.value < 1


def test_what_a_reward_does_not_declare_is_refused_by_name(
    guess: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = opened(guess, tmp_path)
    (scenario,) = played.scenarios("test", 1)
    outcome = guess.Outcome(StopReason.FINISHED, 1)
    for reward, name in (
        (Reward(1, success=True, reason="lucky"), r"'lucky': declare it.*verdicts"),
        (Reward(1, True, "right", {"luck": 1.0}), r"'luck': declare it.*metrics"),
    ):
        monkeypatch.setattr(type(played), "reward", lambda *_, reward=reward: reward)
        with pytest.raises(UndeclaredReward, match=name):
            played.score(scenario, outcome)
