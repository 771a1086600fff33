"""The service around a scripted model server: real mails of two people, real HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from backends import Endpoint
from backends.policy_server import ServedPolicy
from deployment.answer import Checkpoint
from deployment.answerer import Answered, Answerer
from environment.email_search import EmailSearchEnvironment
from environment.email_search.answering import DEPLOYABLE, Question
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import Email, EmailQuestion
from environment.email_search.tools import ANSWER, READ, SEARCH, EmailSession
from tests.environment.email_search.builders import ANN, BOB, EVE, mail
from tests.fakes.chat_server import ChatServer, Script, calls
from training.config import RolloutConfig

PATIENCE_S = 20.0
CHECKPOINT = Checkpoint(
    model="email-agent", version="3", step=150, run="demo", trained_on="aa", mails="bb"
)
SECRET = "QX7731"
PAGER_BODY = "Ann, my pager is 555-1234 now. Bob"
MAILS = [
    mail(1, subject="New pager", body=PAGER_BODY, cc=[EVE]),
    mail(2, subject="Lunch", sender=EVE, body="Lunch at noon?"),
    mail(3, subject="Vault", sender=EVE, to=[BOB], body=f"Bob, the vault opens with {SECRET}."),
]
LOOK = calls((SEARCH, {"keywords": ["pager"]}))
OPEN = calls((READ, {"message_id": "<1@x>"}))
TELL = calls((ANSWER, {"answer": "The pager is 555-1234", "source_ids": ["<1@x>"]}))


def question(text: str = "What is Bob's pager number?", **changes: Any) -> Question:
    defaults = {"question": text, "inbox_address": ANN, "query_date": "2001-12-31"}
    return Question(**defaults | changes)


class Scripted(ServedPolicy):
    """The policy of a fake server."""

    alive = True

    def __init__(self, server: ChatServer) -> None:
        self.endpoint = Endpoint(server.base_url, "the-key")
        self.name = "agent@1"
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Inboxes(EmailSearchEnvironment):
    """Knows which of its sessions are at work.

    Args:
        fault: what opening a session raises.
    """

    fault: Exception | None = None

    def __init__(self, database: EmailDatabase) -> None:
        super().__init__(database, [], EmailSearchConfig(), max_turns=6)
        self.questions: list[EmailQuestion] = []
        self.closed: list[EmailSession] = []
        self._changed = threading.Condition()

    def ask(self, question: EmailQuestion) -> EmailSession:
        if self.fault:
            raise self.fault
        session = super().ask(question)
        self.questions.append(question)
        session.close = lambda: self._close(session)  # type: ignore[method-assign]
        return session

    def _close(self, session: EmailSession) -> None:
        with self._changed:
            self.closed.append(session)
            self._changed.notify_all()

    def idle(self, timeout: float = PATIENCE_S) -> bool:
        """Whether every session that was opened is closed, once; waits for it."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.closed) == len(self.questions), timeout)


@dataclass(frozen=True, slots=True)
class Desk:
    """An answerer with everything around it."""

    server: ChatServer
    policy: Scripted
    inboxes: Inboxes
    answerer: Answerer

    def ask(self, asked_question: Question | None = None, watch: Any = None) -> Answered:
        return self.answerer.submit(asked_question or question(), watch).result(PATIENCE_S)

    def until_asked(self, times: int) -> None:
        """Waits until the model server has had so many requests."""
        until(lambda: len(self.server.requests) >= times)

    def tool_texts(self) -> list[str]:
        """What the tools answered, as the model server was told at last."""
        messages = self.server.requests[-1]["messages"]
        return [message["content"] for message in messages if message["role"] == "tool"]


def until(condition: Callable[[], bool], timeout: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def in_time(work: Callable[[], object], timeout: float = PATIENCE_S) -> bool:
    """Whether ``work`` returns; it is left behind if it does not."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    return not thread.is_alive()


OpenDesk = Callable[..., Desk]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[EmailDatabase]:
    build_database(tmp_path / "mails.db", MAILS)
    opened = EmailDatabase(tmp_path / "mails.db")
    yield opened
    opened.close()


@contextmanager
def desks(folder: Path) -> Iterator[OpenDesk]:
    """Makes desks whose model servers follow the scripts given, and closes them at the end."""
    with ExitStack() as opened:

        def open_desk(
            *scripts: Script, mails: list[Email] = MAILS, at_once: int = 99, **rollout: Any
        ) -> Desk:
            server = opened.enter_context(ChatServer(*scripts))
            path = folder / f"desk {len(list(folder.iterdir()))}.db"
            build_database(path, mails)
            policy, inboxes = Scripted(server), Inboxes(EmailDatabase(path))
            settings = {"max_turns": 6, "timeout_s": 10 * PATIENCE_S} | rollout
            answerer = Answerer(
                policy,
                inboxes,
                DEPLOYABLE,
                RolloutConfig(**settings),
                CHECKPOINT,
                concurrency=at_once,
            )
            opened.callback(lambda: policy.closed or close_in_time(answerer))
            return Desk(server, policy, inboxes, answerer)

        yield open_desk


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[OpenDesk]:
    with desks(tmp_path) as open_desk:
        yield open_desk


def close_in_time(answerer: Answerer) -> None:
    assert in_time(answerer.close), "close() does not return"


@contextmanager
def serve(app: Any, http: Any = "auto") -> Iterator[str]:
    """Runs an ASGI app on loopback; yields its address."""
    config = uvicorn.Config(app, log_level="critical", access_log=False, http=http)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
