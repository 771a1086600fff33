import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from environment.email_search import prepare
from environment.email_search.config import EmailDataConfig
from environment.email_search.email_db import EmailDatabase
from environment.email_search.prepare import ScenarioConfig, SourceConfig, fingerprint
from environment.email_search.scenarios import ScenarioError, read_scenarios
from environment.email_search.sources import SourceError
from environment.jsonl import write_jsonl

from .builders import raw_mail, scenario

SMALL = {"train_inboxes": 2, "test_inboxes": 1, "mails_per_inbox": 30}
REAL_MAILS = os.environ.get("ART_RL_REAL_MAILS")


def fetch(config, folder):
    folder.mkdir(exist_ok=True)
    return prepare.fetch_mails(SourceConfig.of(config), folder)


def run(config, folder):
    """The data pipeline: returns both reports and the scenarios."""
    fetch(config, folder)
    built = prepare.build(folder, folder / "mails.db", config.max_body_chars, config.max_recipients)
    report = prepare.make_scenarios(
        ScenarioConfig.of(config), folder / "mails.db", folder / "scenarios.jsonl"
    )
    return built, report, read_scenarios(folder / "scenarios.jsonl")


def assert_answerable(folder, scenarios):
    """Every gold mail can be read in its inbox and holds the answer."""
    database = EmailDatabase(folder / "mails.db")
    for s in scenarios:
        mail = database.read(s.inbox_address, s.message_ids[0])
        assert s.answer in " ".join(mail.body.split())
    database.close()


@pytest.fixture
def maildir(tmp_path):
    """Mails among four people, and three files that are none."""
    folder = tmp_path / "maildir"
    people = [f"{name}@x.com" for name in ("ann", "bob", "eve", "kim")]
    for n in range(120):
        sender, receiver = people[n % 4], people[(n + 1 + n % 3) % 4]
        file = folder / receiver / f"{n}."
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            raw_mail(
                *(f"Message-ID: <{n}@x>", f"From: {sender}", f"To: {receiver}"),
                f"Subject: topic number {n}",
                body=f"Call 713-555-{1000 + n}.",
            )
        )
    (folder / "ann@x.com" / "photo").write_bytes(b"\x89PNG\0\0")
    (folder / "ann@x.com" / "empty").touch()
    (folder / "ann@x.com" / "long").write_bytes(raw_mail("Message-ID: <l@x>", body="x" * 2_000_000))
    return folder


# From mails to scenarios


def test_the_sample_becomes_a_database_and_scenarios_of_both_splits(tmp_path):
    built, report, scenarios = run(EmailDataConfig(**SMALL), tmp_path / "out")
    assert built.total >= 90
    assert report.train > 0
    assert report.test > 0
    assert len(scenarios) == report.train + report.test
    assert_answerable(tmp_path / "out", scenarios)


def test_a_seed_decides_the_sample(tmp_path):
    runs = [
        run(EmailDataConfig(seed=seed, **SMALL), tmp_path / f"out{at}")[2]
        for at, seed in enumerate((1, 1, 2))
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_maildir_becomes_a_database_and_synthesised_scenarios(tmp_path, maildir):
    config = EmailDataConfig(source="maildir", path=maildir)
    built, report, scenarios = run(config, tmp_path / "out")
    assert built.stored == 120
    assert built.skipped == {"binary_file": 1, "body_too_long": 1, "empty_file": 1}
    assert len(scenarios) == report.train + report.test > 0
    assert_answerable(tmp_path / "out", scenarios)


def test_an_mbox_becomes_a_database(tmp_path):
    path = tmp_path / "inbox.mbox"
    path.write_bytes(b"From bob@x.com Mon May 14 09:00:00 2001\n" + raw_mail() + b"\n")
    config = EmailDataConfig(source="mbox", path=path)
    assert fetch(config, tmp_path / "out") == 1
    report = prepare.build(tmp_path / "out", tmp_path / "mails.db", 5_000, 30)
    assert (report.stored, report.inboxes) == (1, 2)


def test_thresholds_are_applied_when_the_database_is_built(tmp_path, maildir):
    fetch(EmailDataConfig(source="maildir", path=maildir), tmp_path / "out")
    with pytest.raises(ValueError, match="no email to store: 121 body_too_long"):
        prepare.build(tmp_path / "out", tmp_path / "mails.db", 5, 30)


def test_scenarios_of_a_file_are_checked_against_the_database(tmp_path, maildir):
    questions = tmp_path / "questions.jsonl"
    write_jsonl(questions, [scenario(1), scenario(2, split="test"), scenario(999)])
    config = EmailDataConfig(
        source="maildir", path=maildir, scenarios="file", scenarios_path=questions
    )
    _, report, scenarios = run(config, tmp_path / "out")
    assert [s.id for s in scenarios] == ["1", "2"]
    assert report.skipped == {"gold_mail_not_in_database": 1}


def test_a_missing_scenarios_file_is_an_error_that_names_it(tmp_path, maildir):
    config = EmailDataConfig(
        source="maildir", path=maildir, scenarios="file", scenarios_path=tmp_path / "nowhere"
    )
    with pytest.raises(ScenarioError, match="nowhere"):
        run(config, tmp_path / "out")


def test_local_copies_of_the_hub_become_a_database_and_scenarios(tmp_path, no_hub):
    run(EmailDataConfig(**SMALL), tmp_path / "sample")
    columns = pq.read_table(tmp_path / "sample" / prepare.MAILS)
    columns = columns.rename_columns({"sender": "from"})
    dates = columns["date"].cast(pa.timestamp("us"))
    columns = columns.set_column(columns.column_names.index("date"), "date", dates)
    questions = [s.model_dump() for s in read_scenarios(tmp_path / "sample" / "scenarios.jsonl")]
    for split in ("train", "test"):
        (tmp_path / "mails").mkdir(exist_ok=True)
        (tmp_path / "questions").mkdir(exist_ok=True)
        rows = [q | {"id": n} for n, q in enumerate(questions) if q["split"] == split]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "questions" / f"{split}.parquet")
    pq.write_table(columns, tmp_path / "mails" / "train.parquet")
    config = EmailDataConfig(
        source="hub", dataset=str(tmp_path / "mails"), questions=str(tmp_path / "questions")
    )
    _, report, scenarios = run(config, tmp_path / "out")
    assert (report.train + report.test, report.skipped) == (len(questions), {})
    assert {s.question for s in scenarios} == {q["question"] for q in questions}
    assert_answerable(tmp_path / "out", scenarios)


# Sources without mails


@pytest.mark.parametrize(
    ("files", "reason"),
    [({}, "it is empty"), ({"photo": b"\0", "empty": b""}, "1 empty_file, 1 binary_file")],
)
def test_a_source_without_mails_is_an_error_that_says_why(tmp_path, files, reason):
    folder = tmp_path / "maildir"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"no email found in .*maildir \({reason}\)"):
        fetch(EmailDataConfig(source="maildir", path=folder), tmp_path / "out")


def test_an_empty_mbox_is_an_error_that_says_so(tmp_path):
    (tmp_path / "inbox.mbox").touch()
    with pytest.raises(SourceError, match="it is empty"):
        fetch(EmailDataConfig(source="mbox", path=tmp_path / "inbox.mbox"), tmp_path / "out")


@pytest.mark.parametrize("source", ["maildir", "mbox"])
def test_a_source_without_a_path_is_an_error(tmp_path, source):
    config = SourceConfig.of(EmailDataConfig()).model_copy(update={"source": source})
    with pytest.raises(SourceError, match=f"source {source} needs a path"):
        prepare.fetch_mails(config, tmp_path)


def test_odd_mails_of_a_folder_do_not_stop_the_others(tmp_path):
    folder = tmp_path / "maildir"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.eml")).write_bytes(raw_mail("Message-ID: <1@x>"))
    (folder / "utf-7").write_bytes(
        raw_mail("Message-ID: <2@x>", "Content-Type: text/plain; charset=utf-7", body="+2AA-")
    )
    (folder / "plain").write_bytes(raw_mail("Message-ID: <3@x>", "Subject: =?utf-7?q?+2AA-?="))
    count = fetch(EmailDataConfig(source="maildir", path=folder), tmp_path / "out")
    tally = json.loads((tmp_path / "out" / prepare.TALLY).read_text())
    assert count + sum(tally["skipped"].values()) == 3


# What decides a cache


def test_settings_that_do_not_touch_the_mails_leave_the_source_as_it_is():
    one = SourceConfig.of(EmailDataConfig())
    assert SourceConfig.of(EmailDataConfig(max_body_chars=100, scenarios="synthesise")) == one
    assert SourceConfig.of(EmailDataConfig(seed=1)) != one


def test_settings_that_do_not_touch_the_scenarios_leave_them_as_they_are():
    one = ScenarioConfig.of(EmailDataConfig())
    assert ScenarioConfig.of(EmailDataConfig(max_body_chars=100, dataset="other")) == one
    assert ScenarioConfig.of(EmailDataConfig(questions_revision="abc")) != one
    assert one.source == "sample"


def test_a_fingerprint_changes_with_what_lies_at_the_path(tmp_path):
    file = tmp_path / "maildir" / "1."
    file.parent.mkdir()
    seen = [fingerprint(file.parent)]
    for change in (
        lambda: file.write_text("hello"),
        lambda: file.write_text("hello again"),
        lambda: os.utime(file, (1, 1)),
        lambda: file.with_name("2.").touch(),
        file.unlink,
    ):
        change()
        seen.append(fingerprint(file.parent))
    assert len(set(seen)) == len(seen)
    assert fingerprint(file.parent) == seen[-1]


def test_a_fingerprint_of_a_file_changes_with_the_file(tmp_path):
    file = tmp_path / "inbox.mbox"
    file.write_text("hello")
    before = fingerprint(file)
    file.write_text("hello again")
    assert fingerprint(file) != before


def test_without_a_path_the_fingerprint_is_empty():
    assert fingerprint(None) == ""


def test_a_fingerprint_takes_every_file_name(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.eml")).touch()
    assert fingerprint(tmp_path)


if REAL_MAILS:

    def test_every_real_mail_is_stored_or_counted(tmp_path):
        config = EmailDataConfig(source="maildir", path=Path(REAL_MAILS))
        built, report, scenarios = run(config, tmp_path / "out")
        files = sum(file.is_file() for file in Path(REAL_MAILS).rglob("*"))
        assert built.stored + sum(built.skipped.values()) == files
        assert len(scenarios) == report.train + report.test
        assert_answerable(tmp_path / "out", scenarios)
