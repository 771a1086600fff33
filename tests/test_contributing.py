"""The environment that CONTRIBUTING shows works as printed."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import environment
from environment.base import Outcome, StopReason
from environment.registry import environment_package
from pipelines.config import ConfigError, load_config

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def guess(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The printed module, saved where another part of the package ``environment`` lies."""
    blocks = re.findall(r"```python\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    (source,) = [block for block in blocks if "class GuessEnvironment" in block]
    folder = tmp_path_factory.mktemp("environment")
    (folder / "guess").mkdir()
    (folder / "guess" / "__init__.py").write_text(source)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(environment, "__path__", [*environment.__path__, str(folder)])
        yield importlib.import_module("environment.guess")
        sys.modules.pop("environment.guess")


def test_a_configuration_selects_it(guess: ModuleType) -> None:
    assert environment_package("guess") is guess
    assert load_config([], ["environment.name=guess"]).environment == guess.Config()
    with pytest.raises(ConfigError, match=r"unknown key environment\.numbers"):
        load_config([], ["environment.name=guess", "environment.numbers=3"])


def test_its_game_can_be_won_with_its_tool(guess: ModuleType) -> None:
    played = guess.open_environment({}, guess.Config(), max_turns=6)
    (scenario,) = played.scenarios("train", 1)
    session = played.session(scenario)
    (tool,) = session.tools
    low, high, turns = 1, 20, 0
    while not session.finished:
        turns += 1
        middle = (low + high) // 2
        answer = tool.run({"number": middle})
        low, high = (middle + 1, high) if answer == "higher" else (low, middle - 1)
    reward = played.reward(scenario, session.outcome(StopReason.FINISHED, turns))
    assert reward.success
    assert reward.value == 1 - turns / 12


def test_a_game_that_is_not_won_is_worth_nothing(guess: ModuleType) -> None:
    played = guess.open_environment({}, guess.Config(), max_turns=6)
    (scenario,) = played.scenarios("test", 1)
    lost = Outcome(stop=StopReason.OUT_OF_TURNS, turns=6)
    assert not played.reward(scenario, lost).success
    assert played.reward(scenario, lost).value == 0
