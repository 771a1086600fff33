import re
import sqlite3
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environment.email_search.email_db import SCHEMA_VERSION, EmailDatabase, build_database
from environment.email_search.models import Email
from environment.email_search.query import BadQuery

from .builders import ANN, BOB, EVE, mail


def ids(hits):
    return [hit.message_id for hit in hits]


# Building


def test_every_mail_is_stored_or_counted_with_its_reason(tmp_path):
    mails = [
        mail(1),
        mail(2, subject="subject 1", body="hello body 1"),
        mail(1, body="other content"),
        mail(3, body="x" * 2_000_000),
        mail(4, to=[f"p{n}@x.com" for n in range(31)]),
    ]
    report = build_database(tmp_path / "mails.db", mails)
    assert report.stored == 1
    assert report.skipped == {
        "body_too_long": 1,
        "duplicate": 1,
        "message_id_taken": 1,
        "too_many_recipients": 1,
    }
    assert report.total == len(mails)


def test_what_the_source_skipped_and_noted_is_in_the_report(tmp_path):
    skipped, notes = Counter(), Counter()

    def source():
        yield mail(1)
        skipped["binary_file"] += 2
        notes["no_usable_date"] += 1

    report = build_database(tmp_path / "mails.db", source(), skipped=skipped, notes=notes)
    assert report.skipped == {"binary_file": 2}
    assert report.notes == {"no_usable_date": 1}
    assert (report.total, report.inboxes) == (3, 2)


def test_a_repeated_message_id_keeps_the_first_mail(open_database):
    database = open_database([mail(1, body="hello first"), mail(1, body="hello second")])
    assert database.read(ANN, "<1@x>").body == "hello first"
    assert ids(database.search(ANN, "second")) == []


@pytest.mark.parametrize(
    "other", [{"subject": "other"}, {"body": "other"}, {"sender": EVE}], ids=lambda f: next(iter(f))
)
def test_a_mail_is_a_duplicate_only_if_subject_body_and_sender_agree(open_database, other):
    same = {"subject": "same", "body": "same", "sender": BOB}
    database = open_database([mail(1, **same), mail(2, **same | other), mail(3, **same)])
    assert sorted(m.message_id for m in database.emails()) == ["<1@x>", "<2@x>"]


def test_a_recipient_named_in_to_cc_and_bcc_counts_once(open_database):
    people = [f"p{n}@x.com" for n in range(30)]
    copies = [address.upper() for address in people]
    database = open_database([mail(1, to=people, cc=copies, bcc=people)])
    assert database.read("p7@x.com", "<1@x>") is not None


@pytest.mark.parametrize("mails", [[], [mail(1, body="x" * 5_001)]], ids=["empty", "all skipped"])
def test_nothing_to_store_is_an_error_and_leaves_the_old_file(tmp_path, mails):
    path = tmp_path / "mails.db"
    build_database(path, [mail(1)])
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"no email to store: (1 body_too_long|the source is empty)"
    ):
        build_database(path, mails)
    assert path.read_bytes() == before


def test_a_source_that_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "mails.db"
    build_database(path, [mail(1)])
    before = path.read_bytes()

    def failing():
        yield mail(2)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        build_database(path, failing())
    assert path.read_bytes() == before


def test_a_build_after_a_failed_one_replaces_the_file(tmp_path):
    path = tmp_path / "new folder" / "mails.db"

    def failing():
        yield mail(1)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        build_database(path, failing())
    build_database(path, [mail(2)])
    database = EmailDatabase(path)
    assert [m.message_id for m in database.emails()] == ["<2@x>"]
    assert [file.name for file in path.parent.iterdir()] == ["mails.db"]
    database.close()


def test_a_reader_keeps_its_mails_while_the_file_is_replaced(tmp_path):
    path = tmp_path / "mails.db"
    build_database(path, [mail(1)])
    reader = EmailDatabase(path)
    build_database(path, [mail(2)])
    assert ids(reader.search(ANN, "hello")) == ["<1@x>"]
    reader.close()


# Opening


def test_a_missing_file_is_an_error_that_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the data pipeline first"):
        EmailDatabase(tmp_path / "mails.db")


@pytest.mark.parametrize("content", [b"just a text file, no database at all" * 9, b"\xff" * 4096])
def test_a_file_that_is_no_database_is_an_error(tmp_path, content):
    path = tmp_path / "mails.db"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not an email database"):
        EmailDatabase(path)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_a_database_of_another_schema_is_an_error(tmp_path, version):
    path = tmp_path / "mails.db"
    build_database(path, [mail(1)])
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    with pytest.raises(
        ValueError, match=f"has schema version {version}.*run the data pipeline again"
    ):
        EmailDatabase(path)


def test_an_empty_file_is_an_error(tmp_path):
    path = tmp_path / "mails.db"
    path.touch()
    with pytest.raises(ValueError, match=re.escape(str(path))):
        EmailDatabase(path)


def test_another_programs_database_is_an_error_whatever_its_version(tmp_path):
    path = tmp_path / "bookmarks.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks(url)")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.close()
    with pytest.raises(ValueError, match="is not an email database"):
        EmailDatabase(path)


def test_odd_characters_in_the_path_are_part_of_the_path(tmp_path):
    path = tmp_path / "a ?mode=rw #1 %41 é.db"
    build_database(path, [mail(1)])
    database = EmailDatabase(path)
    assert ids(database.search(ANN, "hello")) == ["<1@x>"]
    database.close()


# Scope


def test_an_inbox_finds_only_mails_it_takes_part_in(open_database):
    database = open_database(
        [
            mail(1, sender=BOB, to=[ANN]),
            mail(2, sender=ANN, to=[EVE]),
            mail(3, sender=BOB, to=[EVE], cc=[ANN]),
            mail(4, sender=BOB, to=[EVE], bcc=[ANN]),
            mail(5, sender=BOB, to=[EVE]),
        ]
    )
    assert set(ids(database.search(ANN, "hello"))) == {"<1@x>", "<2@x>", "<3@x>", "<4@x>"}
    assert set(ids(database.search(EVE, "hello"))) == {"<2@x>", "<3@x>", "<4@x>", "<5@x>"}


@pytest.mark.parametrize("inbox", ["", " ", "nobody@x.com", "\0", "\ud800", "ann@x.com' OR 1=1 --"])
@pytest.mark.parametrize("filters", [{}, {"sender": BOB}, {"recipient": ANN}])
def test_an_inbox_that_is_none_finds_and_reads_nothing(open_database, inbox, filters):
    database = open_database([mail(1)])
    assert database.search(inbox, "hello", **filters) == []
    assert database.read(inbox, "<1@x>") is None


def test_read_gives_every_field_of_a_mail_in_the_inbox(open_database):
    sent = mail(1, cc=[EVE], bcc=["Zoe@X.com"], file_name="inbox/1.")
    database = open_database([sent])
    assert database.read(ANN, "<1@x>") == sent
    assert database.read("zoe@x.com", "<1@x>") == sent


@pytest.mark.parametrize("message_id", ["<1@x>", "<9@x>", "", "%", "\0", "\ud800", "' OR 1=1 --"])
def test_read_gives_nothing_for_other_inboxes_and_unknown_ids(open_database, message_id):
    database = open_database([mail(1, sender=BOB, to=[EVE]), mail(2)])
    assert database.read(ANN, message_id) is None


def test_addresses_are_the_same_in_any_case(open_database):
    database = open_database([mail(1, sender="Bob@X.com", to=["ANN@x.com"])])
    hits = database.search(" Ann@X.COM ", "hello", sender="BOB@x.com", recipient="ann@X.com")
    assert ids(hits) == ["<1@x>"]


@pytest.mark.parametrize("word", ["p1", "p2", "f1", "t1", "f2", "t2"])
def test_a_keyword_like_a_participant_token_finds_the_word_only(open_database, word):
    database = open_database([mail(1, body=f"gate {word}"), mail(2), mail(3)])
    assert ids(database.search(ANN, word)) == ["<1@x>"]


# Keywords


def test_every_keyword_must_occur_in_subject_or_body(open_database):
    database = open_database(
        [mail(1, subject="alpha", body="beta"), mail(2, subject="alpha"), mail(3, body="beta")]
    )
    assert ids(database.search(ANN, ["alpha", "BETA"])) == ["<1@x>"]


def test_a_keyword_of_several_words_is_a_phrase(open_database):
    database = open_database([mail(1, body="red blue"), mail(2, body="blue red")])
    assert ids(database.search(ANN, "red blue")) == ["<1@x>"]


def test_accents_do_not_matter(open_database):
    database = open_database([mail(1, body="Café Zürich")])
    assert ids(database.search(ANN, ["cafe", "ZÜRICH"])) == ["<1@x>"]


TEXT = "hello AND world NEAR us, 2.5 for 5, café; " + "y" * 100


@pytest.mark.parametrize(
    ("keywords", "finds"),
    [
        ("hello", True),
        (["hello", None], True),
        (("hello", "world"), True),
        ("AND", True),
        ("NEAR", True),
        ("OR", False),
        ("NOT", False),
        (["hello", "NOT", "world"], False),
        ("NEAR(hello world)", False),
        ('"hello"', True),
        ('hello" OR "absent', False),
        ("(hello)", True),
        ("^hello", True),
        ("-hello", True),
        ("+hello", True),
        ("hel*", False),
        ("body:hello", False),
        ("people:p1", False),
        ("{people} : p1", False),
        ("hello\0AND", True),
        ("\ud800hello\udfff", True),
        ("hello 😀", True),
        ("café", True),
        ("y" * 10_000, True),
        ("z" * 10_000, False),
        ("hello " * 10_000, False),
        (5, True),
        ([2.5], True),
        ([["hello"]], True),
        (["hello"] * 16 + ["absent"], True),
        (["hello"] * 10_000, True),
        (iter(["hello"]), True),
    ],
    ids=lambda value: ascii(value).partition(" at 0x")[0][:30],
)
def test_whatever_a_keyword_holds_it_is_words_and_never_syntax(open_database, keywords, finds):
    database = open_database([mail(1, body=TEXT)])
    assert bool(database.search(ANN, keywords)) is finds


@pytest.mark.parametrize(
    "keywords",
    [None, [], [None], "", " ", "\0", "\ud800", "😀", *'"():*^-+', ["*", "()", None], object()],
    ids=lambda value: ascii(value).partition(" at 0x")[0],
)
def test_keywords_without_a_letter_or_digit_are_a_bad_query(open_database, keywords):
    database = open_database([mail(1, body=TEXT)])
    with pytest.raises(BadQuery, match="word"):
        database.search(ANN, keywords)


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def one_mail(tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "mails.db"
    build_database(path, [mail(1, body=TEXT), mail(2, sender=BOB, to=[EVE], body=TEXT + " more")])
    database = EmailDatabase(path)
    yield database
    database.close()


@settings(max_examples=300)
@given(keywords=any_json, sender=st.none() | any_text, day=st.none() | any_text)
def test_any_search_is_answered_from_the_inbox_or_is_a_bad_query(one_mail, keywords, sender, day):
    try:
        hits = one_mail.search(ANN, keywords, sender=sender, sent_after=day)
    except BadQuery:
        return
    assert ids(hits) in ([], ["<1@x>"])


# Order, bounds and filters


def test_hits_are_newest_first_and_undated_mails_last(open_database):
    database = open_database(
        [
            mail(1, date="2001-05-02 00:00:00"),
            mail(2, date=""),
            mail(3, date="2001-05-03 00:00:00"),
            mail(4, date="1999-12-31 23:59:59"),
        ]
    )
    assert ids(database.search(ANN, "hello")) == ["<3@x>", "<1@x>", "<4@x>", "<2@x>"]
    assert [m.message_id for m in database.emails()] == ["<2@x>", "<4@x>", "<1@x>", "<3@x>"]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_the_limit_keeps_the_newest(open_database, limit):
    database = open_database([mail(n, date=f"2001-05-{n:02d} 00:00:00") for n in range(1, 13)])
    newest = [f"<{n}@x>" for n in range(12, 0, -1)]
    assert ids(database.search(ANN, "hello", limit=limit)) == newest[:limit]


def test_ten_hits_are_the_most_unless_asked_otherwise(open_database):
    database = open_database([mail(n) for n in range(1, 13)])
    assert len(database.search(ANN, "hello")) == 10


@pytest.mark.parametrize(
    ("after", "before", "numbers"),
    [
        ("2001-05-02", None, [3, 2]),
        (None, "2001-05-02", [1]),
        ("2001-05-01", "2001-05-03", [2, 1]),
        ("2001-05-02", "2001-05-02", []),
        ("2001-05-03", "2001-05-01", []),
        ("2001-05-04", None, []),
        (None, "2001-05-01", []),
        ("1000-01-01", "9999-12-31", [3, 2, 1]),
        ("", "", [3, 2, 1, 4]),
    ],
)
def test_sent_after_is_inclusive_and_sent_before_exclusive(open_database, after, before, numbers):
    database = open_database(
        [
            mail(1, date="2001-05-01 23:59:59"),
            mail(2, date="2001-05-02 00:00:00"),
            mail(3, date="2001-05-03 00:00:00"),
            mail(4, date=""),
        ]
    )
    hits = database.search(ANN, "hello", sent_after=after, sent_before=before)
    assert ids(hits) == [f"<{n}@x>" for n in numbers]


@pytest.mark.parametrize("bound", [{"sent_after": "1999-01-01"}, {"sent_before": "2009-01-01"}])
def test_undated_mails_match_no_date_bound(open_database, bound):
    database = open_database([mail(1, date=""), mail(2, date="")])
    assert database.search(ANN, "hello", **bound) == []


@pytest.mark.parametrize(
    "day",
    [
        "yesterday",
        "2001-5-1",
        "2001-02-30",
        "2001-05-01\n",
        "05/01/2001",
        "0000-01-01",
        "\ud800",
        "٢٠٠١-٠١-٠١",
        "2001-05-01 10:00:00",
        " ",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("bound", ["sent_after", "sent_before"])
def test_a_date_that_is_none_is_a_bad_query_that_names_it(open_database, bound, day):
    database = open_database([mail(1)])
    with pytest.raises(
        BadQuery, match=r"is not a (date of the form YYYY-MM-DD|day of the calendar)"
    ):
        database.search(ANN, "hello", **{bound: day})


def test_sender_and_recipient_narrow_the_search(open_database):
    database = open_database(
        [
            mail(1, sender=BOB, to=[ANN]),
            mail(2, sender=EVE, to=[ANN], cc=[BOB]),
            mail(3, sender=ANN, to=[BOB]),
        ]
    )
    assert ids(database.search(ANN, "hello", sender=BOB)) == ["<1@x>"]
    assert set(ids(database.search(ANN, "hello", recipient=BOB))) == {"<2@x>", "<3@x>"}
    assert ids(database.search(ANN, "hello", sender=EVE, recipient=BOB)) == ["<2@x>"]
    assert database.search(ANN, "hello", sender="nobody@x.com") == []
    assert ids(database.search(ANN, "hello", sender="", recipient=None, limit=1)) == ["<3@x>"]


def test_inboxes_counts_each_mail_once_an_address(open_database):
    database = open_database(
        [mail(1, sender=BOB, to=[ANN], cc=[ANN, BOB]), mail(2, sender="", to=[EVE, ANN])]
    )
    assert list(database.inboxes().items()) == [(ANN, 2), (BOB, 1), (EVE, 1)]


# Hits


def test_a_hit_shows_the_words_around_its_keyword(open_database):
    body = " ".join(f"w{n}" for n in range(300))
    database = open_database([mail(1, body=body)])
    (hit,) = database.search(ANN, "w200", snippet_words=9)
    assert "w200" in hit.snippet
    assert len(hit.snippet.split()) == 9
    assert hit.snippet in body
    assert (hit.date, hit.sender, hit.subject) == ("2001-05-14 09:00:00", BOB, "subject 1")


def test_a_hit_by_its_subject_shows_the_start_of_the_body(open_database):
    database = open_database([mail(1, subject="alpha", body="one two three four")])
    (hit,) = database.search(ANN, "alpha", snippet_words=3)
    assert hit.snippet == "one two three"


def test_a_mail_without_text_has_an_empty_snippet(open_database):
    database = open_database([mail(1, subject="alpha", body="")])
    assert database.search(ANN, "alpha")[0].snippet == ""


@pytest.mark.parametrize("before", ["İ" * 600, "é " * 300, "😀" * 300, "x" * 600 + "hello ", "\n"])
def test_a_hit_shows_its_keyword_whatever_stands_before_it(open_database, before):
    database = open_database([mail(1, body=f"{before} hello world")])
    assert "hello world" in database.search(ANN, "HELLO")[0].snippet


# Threads


def test_threads_share_a_database_and_get_the_same_answers(open_database):
    database = open_database([mail(n, body=f"hello k{n % 7}") for n in range(200)])
    expected = {n: ids(database.search(ANN, f"k{n}")) for n in range(7)}
    together = threading.Barrier(8)

    def work(_):
        together.wait()
        return [ids(database.search(ANN, f"k{n % 7}")) == expected[n % 7] for n in range(70)]

    with ThreadPoolExecutor(8) as pool:
        answers = [right for rights in pool.map(work, range(8)) for right in rights]
    assert len(answers) == 560
    assert all(answers)


# Against a plain scan

words = st.sampled_from("red blue Green p1 f1 t2 a1 and NOT".split())
texts = st.lists(words, max_size=5).map(" ".join) | st.lists(words, max_size=4).map("_".join)
people = st.sampled_from([ANN, BOB, EVE])
days = st.dates(
    min_value=date(2001, 1, 1),
    max_value=date(2001, 1, 6),
).map(str)
mailboxes = st.lists(
    st.builds(
        Email,
        message_id=st.integers(1, 30).map("<{}@x>".format),
        date=st.just("") | days.map("{} 10:00:00".format),
        subject=texts,
        sender=st.just("") | people,
        to=st.lists(people, max_size=2),
        cc=st.lists(people, max_size=1),
        body=texts,
    ),
    min_size=1,
    max_size=25,
)
queries = st.fixed_dictionaries(
    {"inbox": people, "keywords": st.lists(texts.filter(bool), min_size=1, max_size=2)},
    optional={
        "sender": people,
        "recipient": people,
        "sent_after": days,
        "sent_before": days,
        "limit": st.integers(1, 4),
    },
)


def tokens(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def has_phrase(text, phrase):
    text_words, wanted = tokens(text), tokens(phrase)
    return any(text_words[at : at + len(wanted)] == wanted for at in range(len(text_words)))


def scan(mails, query):
    """What ``search`` should find, the slow way."""
    matching = []
    for m in mails:
        to = {*m.to, *m.cc, *m.bcc}
        fits = query["inbox"] in to | {m.sender}
        fits &= all(has_phrase(m.subject, k) or has_phrase(m.body, k) for k in query["keywords"])
        fits &= query.get("sender") in (None, m.sender)
        fits &= "recipient" not in query or query["recipient"] in to
        if "sent_after" in query or "sent_before" in query:
            fits &= m.date != ""
            fits &= m.date[:10] >= query.get("sent_after", "")
            fits &= m.date[:10] < query.get("sent_before", "9")
        if fits:
            matching.append(m)
    return matching


def stored(mails):
    """The mails a database keeps: the first of each content, then the first of each id."""
    contents, message_ids = set(), set()
    for m in mails:
        content = (m.subject, m.body, m.sender)
        if content not in contents and m.message_id not in message_ids:
            contents.add(content)
            message_ids.add(m.message_id)
            yield m


@settings(max_examples=60)
@given(mails=mailboxes, searches=st.lists(queries, min_size=5, max_size=10))
def test_a_search_finds_what_a_plain_scan_finds(mails, searches):
    kept = list(stored(mails))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mails.db"
        report = build_database(path, mails)
        database = EmailDatabase(path)
        answers = [database.search(**query) for query in searches]
        database.close()
    assert report.stored == len(kept)
    for query, hits in zip(searches, answers, strict=True):
        expected = scan(kept, query)
        newest = sorted((m.date for m in expected), reverse=True)[: query.get("limit", 10)]
        assert [hit.date for hit in hits] == newest
        assert len(set(ids(hits))) == len(hits)
        assert set(ids(hits)) <= {m.message_id for m in expected}
