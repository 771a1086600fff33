import http.server
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.sources import SourceError, Tally
from environment.email_search.sources.hub import HubSource, question_rows

pytestmark = pytest.mark.usefixtures("no_hub")
ROOT = Path(__file__).parents[3]
WAY_OUT = r"set data\.dataset to a local copy or use data\.source: sample"
MAIL = {
    "message_id": "<1@x>",
    "subject": "review",
    "from": "bob@x.com",
    "to": ["ann@x.com", "al@x.com"],
    "cc": ["eve@x.com"],
    "bcc": [],
    "date": datetime(2001, 5, 14, 9, 30),
    "body": "hello",
    "file_name": "ann/inbox/1.",
}
MAILS = pa.schema(
    [
        *((name, pa.string()) for name in ("message_id", "subject", "from", "body", "file_name")),
        *((name, pa.list_(pa.string())) for name in ("to", "cc", "bcc")),
        ("date", pa.timestamp("us")),
    ]
)
QUESTION = {
    "id": 1,
    "question": "When is the review?",
    "answer": "Monday",
    "message_ids": ["<1@x>"],
    "how_realistic": 0.5,
    "inbox_address": "ann@x.com",
    "query_date": "2001-12-31",
}


@pytest.fixture
def write(tmp_path):
    """Writes rows as a local copy of a data set and returns its name."""

    def write(rows, split="train", schema=None):
        folder = tmp_path / "copy"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{split}.parquet")
        return str(folder)

    return write


def read(dataset):
    tally = Tally()
    return list(HubSource(dataset).emails(tally)), tally


def test_a_row_becomes_a_mail_with_every_field(write):
    (mail,), tally = read(write([MAIL], schema=MAILS))
    assert (mail.message_id, mail.date, mail.subject) == ("<1@x>", "2001-05-14 09:30:00", "review")
    assert (mail.sender, mail.to) == ("bob@x.com", ["ann@x.com", "al@x.com"])
    assert (mail.cc, mail.bcc) == (["eve@x.com"], [])
    assert (mail.body, mail.file_name) == ("hello", "ann/inbox/1.")
    assert tally == Tally()


def test_empty_columns_leave_empty_fields(write):
    row = dict.fromkeys(MAIL) | {"message_id": "<2@x>"}
    (_, mail), _ = read(write([MAIL, row], schema=MAILS))
    assert (mail.subject, mail.sender, mail.body, mail.date) == ("", "", "", "")
    assert (mail.to, mail.cc, mail.bcc) == ([], [], [])


@pytest.mark.parametrize("message_id", [None, ""])
def test_a_row_without_an_id_is_counted(write, message_id):
    mails, tally = read(write([MAIL, MAIL | {"message_id": message_id}], schema=MAILS))
    assert len(mails) == 1
    assert tally.skipped == {"no_message_id": 1}


@pytest.mark.parametrize(
    "date", [None, datetime(1, 1, 1), datetime(1969, 12, 31), datetime(2101, 1, 1)]
)
def test_an_unusable_date_leaves_the_mail_undated_with_a_note(write, date):
    (mail,), tally = read(write([MAIL | {"date": date}], schema=MAILS))
    assert mail.date == ""
    assert tally.notes == {"no_usable_date": 1}


def test_a_nul_in_a_body_is_taken_out(write):
    (mail,), _ = read(write([MAIL | {"body": "hel\0lo"}], schema=MAILS))
    assert mail.body == "hello"


def test_an_empty_recipient_is_left_out(write):
    row = MAIL | {"to": [None, "ann@x.com", ""], "cc": [None], "bcc": [None]}
    (mail,), _ = read(write([row], schema=MAILS))
    assert (mail.to, mail.cc, mail.bcc) == (["ann@x.com"], [], [])


def test_the_mails_of_a_copy_can_be_searched(write, tmp_path):
    source = HubSource(write([MAIL, MAIL | {"message_id": "<2@x>"}], schema=MAILS))
    tally = Tally()
    report = build_database(
        tmp_path / "mails.db", source.emails(tally), skipped=tally.skipped, notes=tally.notes
    )
    assert (report.stored, report.skipped) == (1, {"duplicate": 1})
    database = EmailDatabase(tmp_path / "mails.db")
    assert [hit.message_id for hit in database.search("eve@x.com", "hello")] == ["<1@x>"]
    database.close()


@pytest.mark.parametrize("column", MAIL)
def test_a_missing_column_of_mails_is_an_error_that_names_it(write, column):
    row = {name: value for name, value in MAIL.items() if name != column}
    with pytest.raises(SourceError, match=f"has no column {column}"):
        read(write([row]))


def test_questions_come_with_their_columns_by_split(write):
    write([QUESTION | {"id": 2}], "test")
    copy = write([QUESTION])
    (train,), (test,) = (list(question_rows(copy, split, None)) for split in ("train", "test"))
    assert (train["id"], test["id"]) == (1, 2)
    assert train["message_ids"] == ["<1@x>"]


@pytest.mark.parametrize("column", [name for name in QUESTION if name != "how_realistic"])
def test_a_missing_column_of_questions_is_an_error_that_names_it(write, column):
    row = {name: value for name, value in QUESTION.items() if name != column}
    with pytest.raises(SourceError, match=f"has no column {column}"):
        question_rows(write([row]), "train", None)


def test_a_missing_split_is_an_error_that_names_it(write):
    with pytest.raises(SourceError, match=r"split test\)"):
        question_rows(write([QUESTION]), "test", None)


@pytest.mark.parametrize(
    "name", ["corbt/enron-emails", "a/b/c", "no such name", "/no/such/folder", ""]
)
def test_a_name_out_of_reach_is_an_error_with_the_way_out(name):
    with pytest.raises(SourceError, match=WAY_OUT):
        read(name)


def test_an_empty_folder_is_an_error_with_the_way_out(tmp_path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(SourceError, match=WAY_OUT):
        read(str(tmp_path / "copy"))


def test_a_broken_file_is_an_error_with_the_way_out(tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "train.parquet").write_bytes(b"no parquet file at all")
    with pytest.raises(SourceError, match=WAY_OUT):
        read(str(tmp_path / "copy"))


READ_FROM_HUB = """
from environment.email_search.sources import SourceError, Tally
from environment.email_search.sources.hub import HubSource
try:
    next(HubSource("corbt/enron-emails").emails(Tally()))
except SourceError as error:
    print(error)
"""


class _HangsUp(http.server.BaseHTTPRequestHandler):
    """A hub that closes the connection without a reply."""

    def do_GET(self):
        self.close_connection = True

    do_HEAD = do_POST = do_GET

    def log_message(self, *_):
        """Says nothing."""


def test_a_hub_that_hangs_up_is_an_error_with_the_way_out(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _HangsUp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", READ_FROM_HUB],
        env=os.environ | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    server.shutdown()
    server.server_close()
    assert "use data.source: sample" in done.stdout, done.stderr[-500:]
