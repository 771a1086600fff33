from __future__ import annotations

from typing import Any

import pytest

from agent.rollout import Rollout
from environment.email_search.models import EmailScenario
from tests.chat_model import chat_model_on
from tests.fakes.chat_server import ChatServer, says
from tests.training.world import ROLLOUT, RankedEnvironment
from training.loop.gather import gather_rollouts, limits


async def gather(
    environment: RankedEnvironment, count: int, concurrency: int, **options: Any
) -> list[Rollout]:
    scenarios = environment.scenarios("train", count)
    with ChatServer(says("plain text")) as server:
        tools = environment.tool_schemas
        async with chat_model_on(server, tools, connections=concurrency) as model:
            return await gather_rollouts(
                model,
                environment,
                scenarios,
                limits(ROLLOUT),
                seeds=range(count),
                concurrency=concurrency,
                **options,
            )


class Counted(RankedEnvironment):
    """Notes how many sessions are open at once."""

    open_now = most = opened = 0

    def session(self, scenario: EmailScenario) -> Any:
        self.opened += 1
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        session = super().session(scenario)
        session.close = self._closed  # type: ignore[method-assign]
        return session

    def _closed(self) -> None:
        self.open_now -= 1


@pytest.mark.parametrize("concurrency", [1, 3, 50])
async def test_rollouts_come_in_order_and_within_the_bound(files: Any, concurrency: int) -> None:
    environment = Counted(files)
    done: list[str] = []
    rollouts = await gather(
        environment, 12, concurrency, on_done=lambda rollout: done.append(rollout.scenario.id)
    )
    ids = [scenario.id for scenario in environment.scenarios("train", 12)]
    assert [rollout.scenario.id for rollout in rollouts] == ids
    assert sorted(done) == sorted(ids)
    assert environment.most <= concurrency
    assert (environment.opened, environment.open_now) == (12, 0)
    environment.close()


async def test_a_fault_of_the_environment_is_raised_as_it_is(files: Any) -> None:
    class Broken(Counted):
        def reward(self, scenario: Any, outcome: Any) -> Any:
            raise ZeroDivisionError("a broken reward")

    environment = Broken(files)
    with pytest.raises(ZeroDivisionError, match="a broken reward"):
        await gather(environment, 12, 2)
    assert environment.open_now == 0
    assert environment.opened < 12
    environment.close()


async def test_nothing_to_run_is_nothing(environment: RankedEnvironment) -> None:
    assert await gather(environment, 0, 4) == []
