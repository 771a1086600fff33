"""The data pipeline with a language model that writes the scenarios, run by ZenML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from environment.email_search.scenarios import ScenarioError, read_scenarios
from environment.language_model import LlmFailed, LlmUnavailable
from environment.registry import environment_package
from pipelines import launch
from pipelines.config import ConfigError, load_config
from pipelines.data import REPLIES
from pipelines.launch import Run
from pipelines.preflight import preflight
from pipelines.summary_table import lines
from steps.model_versions import data_artifacts
from tests.environment.email_search.builders import ANN, BOB, raw_mail
from tests.fakes import writer_server as writers
from tests.fakes.writer_server import WriterServer
from tests.pipelines.conftest import Project, settings
from tests.pipelines.test_data_preparation import newest

STEPS = ("download_enron_data", "create_database", "write_scenarios", "load_scenarios")
PRICES = {"usd_per_million_in": 100, "usd_per_million_out": 1000}  # 0.2 USD a reply
Prepare = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two inboxes, one of each split, with 24 mails each from people who have no other."""
    folder = tmp_path_factory.mktemp("mails")
    for n in range(48):
        receiver = (ANN, BOB)[n % 2]
        headers = (f"From: s{n}@y.com", f"To: {receiver}", f"Subject: price of part {n}")
        text = raw_mail(f"Message-ID: <{n}@x>", *headers, body=f"It is ${n * 7 + 1000} net.")
        (folder / f"{n}.").write_bytes(text)
    return folder


@pytest.fixture
def server() -> Iterator[WriterServer]:
    with WriterServer() as started:
        yield started


def values(mails: Path, server: WriterServer, **llm: Any) -> list[str]:
    writer = {"model": "openai/writer", "api_base": server.base_url} | llm
    return [
        "data.source=maildir",
        f"data.path={mails}",
        "data.scenarios=llm",
        "data.writer.questions_per_inbox=4",
        *(f"data.writer.{key}={value}" for key, value in writer.items()),
    ]


@pytest.fixture
def prepare(mails: Path, tmp_path: Path) -> Prepare:
    """Runs the data pipeline in a run folder of its own beside those of the same test."""

    def prepare(server: WriterServer, *more: str, use_cache: bool = True, **llm: Any) -> Any:
        config = load_config([], [*values(mails, server, **llm), *more])
        run = Run(config, "data", "data", 0, tmp_path / f"run-{len(server.requests)}")
        launch.run_data(run, use_cache)
        return run.summary

    return prepare


def executed() -> list[str]:
    statuses = newest()
    return [name for name in STEPS if statuses.get(name, "cached") != "cached"]


def test_what_was_written_becomes_the_scenarios_that_training_takes(
    prepare: Prepare, server: WriterServer
) -> None:
    made = prepare(server)["data"]["scenarios"]
    artifacts = {name: a.load() for name, a in data_artifacts("email_search").items()}
    package = environment_package("email_search")
    environment = package.open(artifacts, package.config(), 6)
    scenarios = [*environment.scenarios("train"), *environment.scenarios("test")]
    environment.close()
    assert len(scenarios) == made["train"] + made["test"] == made["writer"]["kept"] == 8
    assert made["train"] > 0
    assert made["test"] > 0
    assert {s.kind for s in scenarios} == {"llm"}
    inboxes = {
        split: {s.inbox_address for s in scenarios if s.split == split}
        for split in ("train", "test")
    }
    assert not inboxes["train"] & inboxes["test"]
    assert made["writer"]["model"] == "openai/writer"
    assert made["writer"]["requests"] == len(server.requests)


def test_a_second_run_is_cached_and_asks_for_nothing(
    prepare: Prepare, server: WriterServer
) -> None:
    first = prepare(server)
    assert "write_scenarios" in executed()
    requests_before = len(server.requests)
    again = prepare(server)
    assert executed() == []
    assert len(server.requests) == requests_before
    assert again["data"] == first["data"] | {"cached": True}


def test_without_the_cache_the_replies_are_still_not_paid_for_again(
    prepare: Prepare, server: WriterServer
) -> None:
    first = prepare(server)["data"]["scenarios"]
    requests_before = len(server.requests)
    again = prepare(server, use_cache=False)["data"]["scenarios"]
    assert executed() == list(STEPS)
    assert len(server.requests) == requests_before
    assert (again["writer"]["requests"], again["writer"]["cached"]) == (0, requests_before)
    assert again["train"] == first["train"]


def test_a_run_that_failed_goes_on_where_it_stopped(prepare: Prepare) -> None:
    with WriterServer(writers.good, writers.failing(401)) as server:
        more = "data.writer.mails_per_batch=4"
        with pytest.raises(LlmFailed, match="not paid for again"):
            prepare(server, more, concurrency=1)
        answered = len(server.requests) - server.failed
        server.manners = [writers.good]
        made = prepare(server, more, concurrency=1)["data"]["scenarios"]["writer"]
    assert made["cached"] == answered > 1
    assert made["kept"] == 8


def test_a_spent_budget_keeps_what_was_made_and_a_higher_one_goes_on(
    prepare: Prepare, server: WriterServer
) -> None:
    eight = "data.writer.questions_per_inbox=8"
    bounded = prepare(server, eight, concurrency=1, max_cost_usd=1.5, **PRICES)
    cut = bounded["data"]["scenarios"]["writer"]
    assert cut["ended_by"] == "budget"
    assert cut["kept"] > 0
    assert cut["cost_usd"] == pytest.approx(1.6), "eight replies at 0.2"
    requests_before = len(server.requests)
    whole = prepare(server, eight, **PRICES)["data"]["scenarios"]["writer"]
    assert whole["ended_by"] == "done"
    assert whole["cached"] == requests_before
    assert whole["kept"] > cut["kept"]


def test_both_kinds_of_scenarios_stand_side_by_side(prepare: Prepare, server: WriterServer) -> None:
    made = prepare(server, "data.scenarios=both")["data"]["scenarios"]
    scenarios = read_scenarios(data_artifacts("email_search")["scenarios"].load())
    kinds = {s.kind for s in scenarios}
    assert "llm" in kinds
    assert len(kinds) > 1
    assert len({s.id for s in scenarios}) == len(scenarios) == made["train"] + made["test"]
    splits: dict[str, set[str]] = {}
    for s in scenarios:
        splits.setdefault(s.inbox_address, set()).add(s.split)
    assert all(len(of_inbox) == 1 for of_inbox in splits.values())


def test_a_writer_of_nothing_usable_is_an_error_that_says_why(prepare: Prepare) -> None:
    wrong = writers.changing(answer="Paris, of course")
    with (
        WriterServer(wrong) as server,
        pytest.raises(
            ScenarioError, match=r"openai/writer wrote no usable question.*not_in_gold_mail"
        ),
    ):
        prepare(server)


def test_the_table_at_the_end_says_who_wrote_and_what_was_left_out(
    prepare: Prepare, server: WriterServer, tmp_path: Path
) -> None:
    summary = prepare(server, "data.writer.min_realism=0.8")
    summary |= {"status": "completed", "peak_rss_mib": 1.0}
    text = "\n".join(lines(summary, tmp_path))
    assert f"{len(server.requests)} requests, cost unknown" in text
    written = summary["data"]["scenarios"]["writer"]
    assert f"{written['kept']} written by openai/writer (ended by done)" in text
    for reason, count in written["left_out"].items():
        assert f"{count} left out: {reason}" in text


# Before any work


def test_a_missing_key_is_an_error_before_any_work(
    mails: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    chosen = ["data.source=maildir", f"data.path={mails}"]
    preflight(load_config([], chosen), ["data"])
    with pytest.raises(LlmUnavailable, match="OPENAI_API_KEY"):
        preflight(load_config([], [*chosen, "data.scenarios=llm"]), ["data"])


def test_a_bound_on_an_unknown_price_is_an_error_before_any_work(
    mails: Path, server: WriterServer
) -> None:
    with pytest.raises(LlmUnavailable, match="usd_per_million_in"):
        preflight(load_config([], values(mails, server, max_cost_usd=1)), ["data"])
    assert not server.requests


def test_a_wrong_setting_of_the_writer_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"data.writer.questions_per_inbox"):
        load_config([], ["data.writer.questions_per_inbox=0"])


def test_the_command_line_says_which_key_is_missing(project: Project, mails: Path) -> None:
    ended = project.run(
        *("--pipeline", "data", "--name", "no-key"),
        *settings("data.source=maildir", f"data.path={mails}", "data.scenarios=llm"),
    )
    assert ended.code == 2
    assert ended.message.startswith(
        "error: the step write_scenarios asks a model: the model openai/o4-mini needs"
    )
    assert not (project.folder / "runs" / "no-key").exists()


def test_the_replies_are_kept_beside_the_runs(
    prepare: Prepare, server: WriterServer, tmp_path: Path
) -> None:
    prepare(server)
    assert len(list((tmp_path / REPLIES).iterdir())) == len(server.requests)
