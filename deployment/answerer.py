"""Answer many questions concurrently.

Policy, data and model client are loaded once and shared. The agent runs on its own event loop, so
questions may come from any thread or loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.model import ChatModel
from agent.rollout import play
from backends.policy_server import ServedPolicy
from deployment.answer import Answer, Checkpoint, no_answer
from environment.base import Environment, StopReason, StrictModel, Watch
from environment.deployable import Deployable
from training.config import RolloutConfig
from training.loop.gather import limits

log = logging.getLogger(__name__)
T = TypeVar("T")
_CONCURRENCY = 256


class Unavailable(RuntimeError):
    """The deployment cannot answer now: it is shutting down or overloaded, or the model server failed."""


@dataclass(frozen=True, slots=True)
class Answered:
    answer: Answer
    sources: list[StrictModel]


class Answerer:
    """Answers questions until it is closed.

    Args:
        examples: questions to try.
        concurrency: limit of concurrent questions; more are refused, so that no answer is too late.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        environment: Environment[Any, Any],
        deployable: Deployable,
        config: RolloutConfig,
        checkpoint: Checkpoint,
        examples: Sequence[StrictModel] = (),
        concurrency: int = _CONCURRENCY,
    ) -> None:
        self.checkpoint = checkpoint
        self.examples = list(examples)
        self._policy, self._environment = policy, environment
        self._deployable = deployable
        self._limits = limits(config)
        self._concurrency = concurrency
        self._running: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._closed = False
        self._lock = threading.Lock()
        self._last_question = -math.inf
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agent", daemon=True)
        self._thread.start()
        self._model: ChatModel = self._submit(self._connect(config)).result()

    async def _connect(self, config: RolloutConfig) -> ChatModel:
        return ChatModel(
            base_url=self._policy.endpoint.base_url,
            name=self._policy.name,
            api_key=self._policy.endpoint.api_key,
            tools=self._environment.tool_schemas,
            temperature=0.0,
            max_tokens=config.max_reply_tokens,
            timeout_s=config.timeout_s,
            connections=config.concurrency,
            capture_tokens=False,
        )

    @property
    def healthy(self) -> bool:
        return self._policy.alive and not self._draining

    @property
    def idle_s(self) -> float:
        """Seconds since the last question; 0 while one is being answered."""
        return 0.0 if self._running else time.monotonic() - self._last_question

    def question(self, fields: dict[str, str]) -> StrictModel:
        """Raises ``ValidationError`` if the fields do not form a question."""
        return self._deployable.question.model_validate(fields)

    def check(self, question: Any) -> None:
        """Raises ``Unanswerable`` or ``Unavailable``, see ``answer``."""
        self._last_question = time.monotonic()
        if self._draining:
            raise Unavailable("the deployment is shutting down")
        if len(self._running) >= self._concurrency:
            raise Unavailable(f"{self._concurrency} questions are being answered; try again")
        self._deployable.check(self._environment, question)

    async def answer(self, question: Any, watch: Watch | None = None) -> Answered:
        """
        Args:
            watch: called with each tool event, on the agent's thread.

        Raises:
            Unanswerable: the environment cannot answer this question.
            Unavailable: see there.
        """
        return await asyncio.wrap_future(self.submit(question, watch))

    def submit(self, question: Any, watch: Watch | None = None) -> Future[Answered]:
        """``answer`` for callers without an event loop. Cancelling the future stops the agent."""
        with self._lock:
            if not self._closed:
                return self._submit(self._answer(question, watch))
        refusal: Future[Answered] = Future()
        refusal.set_exception(Unavailable("the deployment has shut down"))
        return refusal

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _answer(self, question: Any, watch: Watch | None) -> Answered:
        self.check(question)
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await self._work(question, watch)
        except asyncio.CancelledError as error:
            if self._draining:
                raise Unavailable("the deployment shut down before the answer was ready") from error
            raise
        finally:
            self._running.discard(task)

    async def _work(self, question: Any, watch: Watch | None) -> Answered:
        started = time.perf_counter()
        deployable, environment = self._deployable, self._environment
        with closing(deployable.session(environment, question)) as session:
            session.watch = watch
            played = await play(self._model, session, environment.system_prompt, self._limits)
            outcome = session.outcome(played.stop, played.turns)
        if played.stop is StopReason.ERROR:
            # Its message may contain parts of the prompt.
            log.error("the model server failed: %s", played.error.partition(" - ")[0])
            raise Unavailable("the model server failed")
        if outcome.answer is None:
            finding = no_answer(outcome)
        else:
            finding = deployable.finding(environment, question, outcome)
        success = finding.answer is not None
        answer = Answer(
            question=question.question,
            answer=finding.answer if success else deployable.nothing_found,
            source_ids=finding.source_ids,
            success=success,
            reason=finding.reason,
            checkpoint=self.checkpoint,
            turns=outcome.turns,
            latency_ms=round(1000 * (time.perf_counter() - started), 1),
        )
        # Without the question: questions and data are private.
        log.info(
            "answered in %.0f ms, %d turns: %s",
            answer.latency_ms,
            answer.turns,
            finding.reason or "found",
        )
        return Answered(answer, finding.sources)

    def drain(self, grace_s: float) -> None:
        """Refuse further questions, and cancel those still unanswered after ``grace_s`` seconds. Returns
        at once."""
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(self._end, grace_s)

    def _end(self, grace_s: float) -> None:
        self._draining = True
        self._loop.call_later(grace_s, self._cancel_all)

    def _cancel_all(self) -> None:
        for task in self._running:
            task.cancel()

    def close(self) -> None:
        """Cancel what is running and release policy, environment and client."""

        async def finish() -> None:
            self._draining = True
            self._cancel_all()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._model.close()

        with self._lock:
            if self._closed:
                return
            self._closed = True
            finished = self._submit(finish())
        finished.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._policy.close()
        self._environment.close()
