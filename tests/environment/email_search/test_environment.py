import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from environment.base import StopReason
from environment.email_search import EmailSearchEnvironment, open_environment
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import build_database
from environment.email_search.scenarios import ScenarioError
from environment.email_search.tools import ANSWER, READ, SEARCH
from environment.jsonl import write_jsonl

from .builders import ANN, mail, scenario

SCENARIOS = [scenario(n, split="test" if n % 4 == 0 else "train") for n in range(1, 41)]


@pytest.fixture
def environment(open_database):
    database = open_database([mail(n, body=f"hello k{n}") for n in range(1, 41)])
    return EmailSearchEnvironment(database, SCENARIOS, EmailSearchConfig(), max_turns=6)


@pytest.fixture
def artifacts(tmp_path):
    build_database(tmp_path / "mails.db", [mail(1)])
    write_jsonl(tmp_path / "scenarios.jsonl", [scenario(1)])
    return {"database": tmp_path / "mails.db", "scenarios": tmp_path / "scenarios.jsonl"}


def act(session, tool, **arguments):
    return {t.name: t for t in session.tools}[tool].run(arguments)


def test_a_split_holds_its_own_scenarios_only(environment):
    for split in ("train", "test"):
        got = environment.scenarios(split)
        assert sorted(s.id for s in got) == sorted(s.id for s in SCENARIOS if s.split == split)


def test_only_the_seed_decides_the_order(environment):
    turned = EmailSearchEnvironment(
        environment.database, SCENARIOS[::-1], EmailSearchConfig(), max_turns=6
    )
    assert environment.scenarios("train", seed=1) == turned.scenarios("train", seed=1)
    assert environment.scenarios("train", seed=1) != environment.scenarios("train", seed=2)


@pytest.mark.parametrize("limit", [0, 1, 5, 1_000])
def test_a_limit_takes_the_first_of_the_same_order(environment, limit):
    everything = environment.scenarios("train", seed=3)
    assert environment.scenarios("train", limit, seed=3) == everything[:limit]


def test_the_tools_of_a_session_are_those_of_the_schemas(environment):
    session = environment.session(SCENARIOS[0])
    names = [schema["function"]["name"] for schema in environment.tool_schemas]
    assert names == [tool.name for tool in session.tools]
    assert environment.system_prompt


def test_a_session_that_finds_reads_and_answers_is_rewarded(environment):
    task = SCENARIOS[0]
    session = environment.session(task)
    assert "<1@x>" in act(session, SEARCH, keywords=["k1"])
    assert "hello k1" in act(session, READ, message_id="<1@x>")
    act(session, ANSWER, answer="Monday", source_ids=["<1@x>"])
    reward = environment.reward(task, session.outcome(StopReason.FINISHED, turns=3))
    session.close()
    assert (reward.success, reward.reason) == (True, "right")
    assert reward.value == pytest.approx(1.55)


def test_a_hundred_sessions_at_once_do_not_touch_each_other(environment):
    together = threading.Barrier(16)

    def work(n):
        task = SCENARIOS[n % 40]
        number = task.id
        session = environment.session(task)
        together.wait()
        act(session, SEARCH, keywords=[f"k{number}"])
        act(session, READ, message_id=f"<{number}@x>")
        outcome = session.outcome(StopReason.OUT_OF_TURNS, turns=2)
        return outcome.found_ids == outcome.read_ids == {f"<{number}@x>"}

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(112)))


def test_an_environment_opens_from_its_artifacts_and_closes(artifacts):
    opened = open_environment(artifacts, EmailSearchConfig(max_hits=1), max_turns=4)
    (task,) = opened.scenarios("train")
    assert act(opened.session(task), SEARCH, keywords=["hello"]).startswith("<1@x>")
    assert opened.database.inboxes()[ANN] == 1
    opened.close()


def test_a_missing_artifact_is_an_error_that_names_it(artifacts, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.db"):
        open_environment(
            artifacts | {"database": tmp_path / "nowhere.db"}, EmailSearchConfig(), max_turns=4
        )
    with pytest.raises(ScenarioError, match=r"nowhere\.jsonl"):
        open_environment(
            artifacts | {"scenarios": tmp_path / "nowhere.jsonl"}, EmailSearchConfig(), max_turns=4
        )
