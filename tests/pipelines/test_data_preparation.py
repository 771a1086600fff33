"""The data pipeline over a folder of mails, run by ZenML in this process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from environment.email_search.sample.corpus import generate
from pipelines import launch
from pipelines.config import load_config
from pipelines.launch import Run
from steps.model_versions import data_artifacts

STEPS = ("download_enron_data", "create_database", "load_scenarios")


def write_maildir(folder: Path) -> list[Path]:
    inboxes = generate(3, train_inboxes=2, test_inboxes=2, mails_per_inbox=20)
    files = []
    for number, mail in enumerate(mail for inbox in inboxes for mail in inbox.mails):
        message = EmailMessage()
        message["Message-ID"] = mail.message_id
        message["From"] = mail.sender
        message["To"] = ", ".join(mail.to)
        message["Date"] = format_datetime(datetime.fromisoformat(mail.date))
        message["Subject"] = mail.subject
        message.set_content(mail.body if number else "A long story. " * 100)
        file = folder / mail.sender.partition("@")[0] / "inbox" / f"{number}."
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(message.as_bytes())
        files.append(file)
    return files


def prepare(folder: Path, mails: Path, **data: Any) -> dict[str, Any]:
    values = [f"data.{key}={value}" for key, value in data.items()]
    config = load_config([], ["data.source=maildir", f"data.path={mails}", *values])
    run = Run(config, "data", "data", 0, folder)
    launch.run_data(run, use_cache=True)
    return run.summary


def newest() -> Mapping[str, Any]:
    """How each step of the newest data run came about."""
    from zenml.client import Client

    (run,) = Client().list_pipeline_runs(
        pipeline="data_preparation", sort_by="desc:created", size=1
    )
    assert run.status == "completed"
    return {name: str(step.status) for name, step in run.steps.items()}


def executed() -> list[str]:
    return [name for name in STEPS if newest()[name] != "cached"]


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mails")
    write_maildir(folder)
    return folder


@pytest.fixture(scope="module")
def first(mails: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary of a first run, of which every step was executed."""
    summary = prepare(tmp_path_factory.mktemp("first"), mails)
    assert executed() == list(STEPS)
    return summary


def test_every_mail_is_accounted_for(first: dict[str, Any]) -> None:
    database, scenarios = first["data"]["database"], first["data"]["scenarios"]
    assert database["stored"] == 80
    assert database["skipped"] == {}
    assert scenarios["train"] + scenarios["test"] > 0
    assert first["data"]["cached"] is False
    assert first["seconds"]["data"] > 0


def test_a_second_run_executes_no_step(first: dict[str, Any], mails: Path, tmp_path: Path) -> None:
    again = prepare(tmp_path, mails)
    assert executed() == []
    assert again["data"] == first["data"] | {"cached": True}


def test_the_artifacts_of_a_cached_run_are_those_of_the_first(
    first: dict[str, Any], mails: Path, tmp_path: Path
) -> None:
    before = data_artifacts("email_search")
    prepare(tmp_path, mails)
    after = data_artifacts("email_search")
    assert {name: made.id for name, made in after.items()} == {
        name: made.id for name, made in before.items()
    }


def test_a_bound_that_changes_no_mail_makes_only_the_database_again(
    first: dict[str, Any], mails: Path, tmp_path: Path
) -> None:
    prepare(tmp_path, mails, max_recipients=29)
    assert executed() == ["create_database"]


def test_a_bound_that_leaves_mails_out_makes_what_depends_on_them_again(
    first: dict[str, Any], mails: Path, tmp_path: Path
) -> None:
    summary = prepare(tmp_path, mails, max_body_chars=1000)
    assert executed() == ["create_database", "load_scenarios"]
    database = summary["data"]["database"]
    assert (database["stored"], sum(database["skipped"].values())) == (79, 1)


def test_another_seed_reads_no_mail_again_where_none_is_made_from_it(
    first: dict[str, Any], mails: Path, tmp_path: Path
) -> None:
    config = load_config([], ["data.source=maildir", f"data.path={mails}"])
    launch.run_data(Run(config, "data", "data", 7, tmp_path), use_cache=True)
    assert executed() == []


def test_a_changed_mail_is_read_again(first: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    file = write_maildir(folder)[0]
    prepare(tmp_path, folder)
    before = data_artifacts("email_search")["database"].id
    file.write_bytes(file.read_bytes().replace(b"Subject:", b"Subject: Re:"))
    prepare(tmp_path, folder)
    assert executed() == list(STEPS)
    assert data_artifacts("email_search")["database"].id != before


def test_without_the_cache_every_step_is_executed(
    first: dict[str, Any], mails: Path, tmp_path: Path
) -> None:
    config = load_config([], ["data.source=maildir", f"data.path={mails}"])
    launch.run_data(Run(config, "data", "data", 0, tmp_path), use_cache=False)
    assert executed() == list(STEPS)
