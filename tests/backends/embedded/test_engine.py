from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from backends import checkpoints
from backends.embedded.engine import Engine
from backends.embedded.policy import Policy
from backends.sampling import NoSuchCheckpoint, Sample, SampleRequest
from tests.backends.conftest import NewPolicy
from tests.backends.pocket import QUESTIONS, prompt_of

WAIT_S, SOON_S = 60, 5
OUTSIDE_VOCABULARY = 10_000


@pytest.fixture
def engine(policy: Policy) -> Iterator[Engine]:
    engine = Engine(policy)
    yield engine
    engine.stop()


@pytest.fixture
def two_steps(new_policy: NewPolicy) -> Iterator[Engine]:
    """An engine of a policy with the checkpoints 0 and 1."""
    policy = new_policy()
    for step in (0, 1):
        checkpoints.write_checkpoint(
            policy.model_dir, step, lambda folder: policy.trained.save_pretrained(str(folder))
        )
    policy.advance(1)
    engine = Engine(policy)
    yield engine
    engine.stop()


class Hold:
    """Keeps the engine's thread busy inside ``with``, so that what is asked for meanwhile waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._gate, self._begun = engine, threading.Event(), threading.Event()

    def _wait(self) -> None:
        self._begun.set()
        self._gate.wait()

    def __enter__(self) -> Hold:
        self._engine.call(self._wait)
        self._begun.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.set()


def request(engine: Engine, question: str = QUESTIONS[0], tokens: int = 8, **options: Any) -> Any:
    options = {"temperature": 0.0} | options
    return SampleRequest(prompt_of(engine.policy, question), tokens, **options)


def broken(engine: Engine) -> SampleRequest:
    return SampleRequest([OUTSIDE_VOCABULARY], 4)


def long(engine: Engine, seed: int = 1, tokens: int = 400) -> SampleRequest:
    """One that goes on for long: a distribution so flat hardly ever hits the end."""
    return request(engine, tokens=tokens, temperature=10.0, seed=seed)


def result(future: Future[Sample]) -> list[int]:
    return future.result(WAIT_S).token_ids


def begun(engine: Engine, *requests: SampleRequest) -> list[Future[Sample]]:
    """Requests that are being sampled: one beside them is done already."""
    with Hold(engine):
        futures = [engine.submit(0, each) for each in requests]
        first = engine.submit(0, request(engine, tokens=1))
    first.result(WAIT_S)
    return futures


def test_requests_get_what_each_would_get_alone(engine: Engine) -> None:
    requests = [request(engine, question) for question in QUESTIONS]
    alone = [result(engine.submit(0, each)) for each in requests]
    together = [engine.submit(0, each) for each in requests]
    assert [result(future) for future in together] == alone


def test_more_requests_than_a_batch_takes_are_all_answered(policy: Policy) -> None:
    engine = Engine(policy, max_batch=3)
    futures = [engine.submit(0, request(engine, tokens=2 + n % 5)) for n in range(20)]
    assert [len(result(future)) for future in futures] == [2 + n % 5 for n in range(20)]
    engine.stop()


def test_a_failure_fails_the_requests_of_its_batch_and_the_engine_goes_on(engine: Engine) -> None:
    with Hold(engine):
        bad = [engine.submit(0, broken(engine)), engine.submit(0, request(engine))]
    for future in bad:
        with pytest.raises(IndexError):
            future.result(WAIT_S)
    assert result(engine.submit(0, request(engine)))


def test_a_failure_fails_what_runs_beside_it_and_the_engine_goes_on(engine: Engine) -> None:
    [running] = begun(engine, long(engine, tokens=200))
    bad = engine.submit(0, broken(engine))
    for future in (running, bad):
        with pytest.raises(IndexError):
            future.result(WAIT_S)
    assert engine.submit(0, long(engine, tokens=300)).result(WAIT_S)


def test_a_failure_of_one_checkpoint_leaves_the_requests_of_another_alone(
    two_steps: Engine,
) -> None:
    with Hold(two_steps):
        good = two_steps.submit(0, request(two_steps, tokens=30))
        bad = two_steps.submit(1, broken(two_steps))
    with pytest.raises(IndexError):
        bad.result(WAIT_S)
    assert result(good) == result(two_steps.submit(0, request(two_steps, tokens=30)))


def test_a_step_without_a_checkpoint_fails_alone(engine: Engine) -> None:
    with Hold(engine):
        good, missing = engine.submit(0, request(engine)), engine.submit(7, request(engine))
    with pytest.raises(NoSuchCheckpoint, match="step 7"):
        missing.result(WAIT_S)
    assert result(good)


def test_a_checkpoint_that_cannot_be_loaded_fails_alone(two_steps: Engine) -> None:
    folder = checkpoints.checkpoint_dir(two_steps.policy.model_dir, 0)
    shutil.rmtree(folder)
    folder.mkdir()
    with Hold(two_steps):
        good, bad = (two_steps.submit(step, request(two_steps)) for step in (1, 0))
    with pytest.raises(Exception, match=str(folder)):
        bad.result(SOON_S)
    assert result(good)


def test_weights_that_are_no_longer_asked_for_are_let_go(two_steps: Engine) -> None:
    policy, seen = two_steps.policy, []
    for step in (2, 3):
        checkpoints.copy_checkpoint(policy.model_dir, 1, step)
    for step in range(4):
        result(two_steps.submit(step, request(two_steps, tokens=1)))
        weights = two_steps.call(lambda n=step: weakref.ref(policy.sampling_model(n)))
        seen.append(weights.result(WAIT_S))
    two_steps.call(gc.collect).result(WAIT_S)
    assert seen[0]() is None


def test_a_call_runs_while_nothing_is_sampled(engine: Engine) -> None:
    running = begun(engine, *(request(engine, tokens=n) for n in (40, 80)))
    assert engine.call(lambda: [future.done() for future in running]).result(WAIT_S) == [True] * 2


def test_requests_wait_for_a_call_that_came_before_them(engine: Engine) -> None:
    with Hold(engine):
        early = engine.submit(0, request(engine))
        call = engine.call(lambda: (threading.current_thread().name, late.done()))
        late = engine.submit(0, request(engine))
    assert call.result(WAIT_S) == ("engine", False)
    assert result(early) == result(late)


def test_calls_run_in_order(engine: Engine) -> None:
    seen: list[int] = []
    with Hold(engine):
        calls = [engine.call(lambda n=n: seen.append(n)) for n in range(5)]
    for call in calls:
        call.result(WAIT_S)
    assert seen == [0, 1, 2, 3, 4]


def test_a_call_that_fails_fails_alone(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 // 0).result(WAIT_S)
    assert result(engine.submit(0, request(engine)))


def test_a_request_given_up_does_not_stop_the_engine(engine: Engine) -> None:
    with Hold(engine):
        given_up = engine.submit(0, request(engine))
        given_up.cancel()
    assert engine.submit(0, request(engine)).result(SOON_S)


async def test_a_call_given_up_does_not_stop_the_engine(engine: Engine) -> None:
    """As when a training step runs into a timeout, or its task is cancelled."""
    with Hold(engine), pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.wrap_future(engine.call(lambda: 1)), 0.01)
    assert engine.submit(0, request(engine)).result(SOON_S)


def test_a_short_request_need_not_wait_for_the_end_of_long_ones(engine: Engine) -> None:
    running = begun(engine, *(long(engine, seed) for seed in range(8)))
    result(engine.submit(0, request(engine, tokens=1)))
    assert [future.done() for future in running].count(True) < 4


def test_stop_fails_what_waits_and_what_runs(policy: Policy) -> None:
    engine = Engine(policy)
    [running] = begun(engine, long(engine))
    waiting = [engine.submit(0, request(engine)) for _ in range(3)]
    engine.stop()
    for future in (running, *waiting):
        with pytest.raises(RuntimeError, match="stopped"):
            future.result(SOON_S)


def test_stop_fails_calls_that_wait(policy: Policy) -> None:
    engine = Engine(policy)
    [running] = begun(engine, long(engine))
    call = engine.call(lambda: 1)
    engine.stop()
    for future in (running, call):
        with pytest.raises(RuntimeError, match="stopped"):
            future.result(SOON_S)


def test_what_comes_after_the_stop_fails(policy: Policy) -> None:
    engine = Engine(policy)
    engine.stop()
    for future in (engine.submit(0, request(engine)), engine.call(lambda: 1)):
        with pytest.raises(RuntimeError, match="stopped"):
            future.result(SOON_S)


def test_statistics_add_up_over_weights_and_checkpoints(two_steps: Engine) -> None:
    first = result(two_steps.submit(0, request(two_steps)))
    second = result(two_steps.submit(1, request(two_steps, QUESTIONS[1])))
    two_steps.call(two_steps.weights_changed).result(WAIT_S)
    third = result(two_steps.submit(1, request(two_steps, QUESTIONS[1])))
    stats = two_steps.stats()
    prompts = [len(prompt_of(two_steps.policy, QUESTIONS[n])) for n in (0, 1, 1)]
    assert stats.requests == 3
    assert stats.prompt_tokens == stats.prefilled_tokens == sum(prompts)
    assert stats.sampled_tokens == len(first) + len(second) + len(third)
    assert stats.prefill_s > 0
    assert stats.decode_s > 0
