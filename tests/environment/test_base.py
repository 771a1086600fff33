from typing import ClassVar

import pytest
from pydantic import ValidationError

from environment.base import (
    Environment,
    Outcome,
    Reward,
    Scenario,
    ScenarioView,
    StopReason,
    UndeclaredReward,
    UserError,
)


def test_a_record_is_frozen():
    scenario = Scenario(id="1", split="train")
    with pytest.raises(ValidationError, match="frozen"):
        scenario.id = "2"


def test_a_record_refuses_keys_it_does_not_know():
    with pytest.raises(ValidationError, match="typo"):
        Scenario(id="1", split="train", typo=1)


def test_there_are_two_splits_only():
    with pytest.raises(ValidationError, match="split"):
        Scenario(id="1", split="validation")


class Rewarding(Environment):
    """Gives what it is told to give, and declares one verdict and one metric."""

    name = "rewarding"
    verdicts: ClassVar = {"right": "the right answer"}
    metrics: ClassVar = {"words": "words of the answer"}

    def __init__(self, reason, **metrics):
        self._reward = Reward(1.0, success=True, reason=reason, metrics=metrics)

    def scenarios(self, split, limit=None, seed=0):
        return []

    def session(self, scenario):
        raise NotImplementedError

    def reward(self, scenario, outcome):
        return self._reward


SCENARIO, OUTCOME = Scenario(id="1", split="train"), Outcome(StopReason.FINISHED)


@pytest.mark.parametrize("reason", ["right", *StopReason])
def test_a_reward_with_what_its_environment_declares_is_a_score(reason):
    reward = Rewarding(str(reason), words=2.0).score(SCENARIO, OUTCOME)
    assert (reward.reason, reward.metrics) == (reason, {"words": 2.0})


def test_an_undeclared_verdict_is_refused_by_name():
    with pytest.raises(UndeclaredReward, match=r"rewarding gave 'wrong'.*verdicts") as refused:
        Rewarding("wrong", words=2.0).score(SCENARIO, OUTCOME)
    assert isinstance(refused.value, UserError)


def test_an_undeclared_metric_is_refused_by_name():
    with pytest.raises(UndeclaredReward, match=r"rewarding gave 'chars'.*metrics"):
        Rewarding("right", words=2.0, chars=3.0).score(SCENARIO, OUTCOME)


def test_a_scenario_that_says_nothing_is_shown_by_its_id():
    assert SCENARIO.view == ScenarioView(question="1", gold="", kind="all", cluster="")
