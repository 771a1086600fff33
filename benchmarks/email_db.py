"""Our mail database beside ART-E's plain schema: the same mails, the same queries, both timed.

    python -m benchmarks.email_db [--mails 500000] [--queries 1000] [--maildir FOLDER]

*Plain* is ART-E's published design: row ids in order of arrival, its tables, its indexes, its one
join over mails, full-text index and recipients, opened as ART-E opens it. *Tuned* is the same
file opened with our cache and memory map: what lies between it and ours is the schema's doing.

Both databases are built from one corpus file that holds only mails both keep: dated, within the
thresholds of ``build_database``, no repeat. *Reading* that file is part of both builds. Real mails
(``--maildir``) are copied until there are enough; a copy has its own message id, one more word,
another date, and another company's addresses after every few copies.

Two answers to a query *agree* if they show the same dates in the same order and the same message
ids. One exception: a full answer may be cut within a run of mails of one date, and which of those
come through is neither schema's promise. So ids at the last date of a full answer are not compared.
A disagreement ends the program with status 1.

Latencies are of a warm cache and one thread: ``ms`` on the clock, ``cpu_ms`` on the processor, which
is what to read on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import accumulate, chain, count, islice
from pathlib import Path
from typing import NamedTuple

from environment.email_search.corpus_file import read_mails, write_mails
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import Email
from environment.email_search.sample.corpus import DOMAIN, generate
from environment.email_search.sources import Tally
from environment.email_search.sources.files import MaildirSource

MAX_BODY_CHARS, MAX_RECIPIENTS, LIMIT = 5_000, 30, 10
BLOCK = 25  # queries one database answers before the next one's turn
COPIES_PER_COMPANY = 5  # copies of the real mails that share their addresses
SHIFT_MINUTES = 180 * 24 * 60  # how far a copy's date may lie from the real one
TYPICAL_MAILS = 20  # an inbox of fewer is no one's to ask about
_COLUMNS = ("reading", "plain", "tuned", "ours")
# Whether a query has a first day and a last one: most have neither.
_BOUNDS = [(False, False)] * 6 + [(True, False), (True, False), (False, True), (True, True)]
_WORD = re.compile(r"[^\W\d_]{4,}")
# Words nobody searches for; they would only measure how long a list of all mails is.
_COMMON = frozenset(
    "about also been from have here into just know like more need only over please said some than "
    "thanks that their them then there they this very want were what when will with would your".split()
)
_PLAIN_TABLES = """
CREATE TABLE emails(id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE, subject TEXT,
    from_address TEXT, date TEXT, body TEXT, file_name TEXT);
CREATE TABLE recipients(email_id INTEGER, recipient_address TEXT, recipient_type TEXT,
    FOREIGN KEY(email_id) REFERENCES emails(id) ON DELETE CASCADE);
"""
# ART-E's triggers are left out: they are made after the load and never fire.
_PLAIN_INDEXES = """
CREATE INDEX emails_from ON emails(from_address); CREATE INDEX emails_date ON emails(date);
CREATE INDEX emails_message_id ON emails(message_id);
CREATE INDEX recipients_address ON recipients(recipient_address);
CREATE INDEX recipients_type ON recipients(recipient_type);
CREATE INDEX recipients_email ON recipients(email_id);
CREATE INDEX recipients_address_email ON recipients(recipient_address, email_id);
CREATE VIRTUAL TABLE emails_fts USING fts5(subject, body, content='emails', content_rowid='id');
INSERT INTO emails_fts(emails_fts) VALUES('rebuild');
"""
_PLAIN_SEARCH = """
SELECT e.date, e.message_id, snippet(emails_fts, -1, '<b>', '</b>', ' ... ', 15)
FROM emails e JOIN emails_fts fts ON e.id = fts.rowid
WHERE fts.emails_fts MATCH ? AND (e.from_address = ? OR EXISTS (SELECT 1 FROM recipients r
    WHERE r.recipient_address = ? AND r.email_id = e.id)) {bounds}
ORDER BY e.date DESC LIMIT ?
"""
_MAILS_OF = """
SELECT id FROM emails WHERE from_address = :address
UNION SELECT email_id FROM recipients WHERE recipient_address = :address LIMIT 1 OFFSET :at
"""

Hits = list[tuple[str, str]]  # date and message id, newest first
Figures = dict[str, float]  # of one database, by name


class Query(NamedTuple):
    """One search as an agent asks it. Days are ``YYYY-MM-DD``, ``after`` included."""

    inbox: str
    keywords: list[str]
    after: str | None
    before: str | None


class Answer(NamedTuple):
    """What one database said to one query, and how long it took."""

    hits: Hits
    ms: float
    cpu_ms: float


Searches = Mapping[str, Callable[[Query], Hits]]


def sample_mails(seed: int, copy: int) -> Iterator[Email]:
    """The generated mails of one seed more.

    A generated inbox is always small, real ones are not: of 16 owners, four keep one address for 4
    seeds, four for 16 and four for 64, so that inboxes hold some 250, 1,000, 4,000 and 16,000.
    """
    inboxes = generate(seed + copy)
    names = {
        box.address: f"owner{n}.{copy // 4 ** (n % 4)}@{DOMAIN}" for n, box in enumerate(inboxes)
    }
    for inbox in inboxes:
        for mail in inbox.mails:
            # Ids are unique within a seed only.
            own_id = replace(mail, message_id=f"{mail.message_id}-{copy}")
            yield renamed(own_id, lambda address: names.get(address, address))


def copied_mails(base: Path, seed: int, copy: int) -> Iterator[Email]:
    """The mails of the file ``base``; varied, unless this is copy 0."""
    rng = random.Random(f"copy {seed} {copy}")
    company = copy // COPIES_PER_COMPANY
    for mail in read_mails(base):
        if copy:
            moved = timedelta(minutes=rng.randint(-SHIFT_MINUTES, SHIFT_MINUTES))
            mail.date = f"{datetime.fromisoformat(mail.date) + moved:%Y-%m-%d %H:%M:%S}"
            mail.message_id += f"-{copy}"
            mail.body = f"copy{copy}\n{mail.body}"[:MAX_BODY_CHARS]
        yield renamed(mail, lambda a: f"{company}.{a}") if company else mail


def renamed(mail: Email, name: Callable[[str], str]) -> Email:
    to, cc, bcc = ([name(address) for address in kind] for kind in (mail.to, mail.cc, mail.bcc))
    return replace(mail, sender=mail.sender and name(mail.sender), to=to, cc=cc, bcc=bcc)


def write_corpus(file: Path, maildir: Path | None, mails: int, seed: int) -> int:
    """Write that many mails; returns how many."""
    base = file.with_name("base.parquet")
    if maildir is None:
        copies = (sample_mails(seed, copy) for copy in count())
    elif write_mails(base, islice(kept(MaildirSource(maildir).emails(Tally())), mails)):
        copies = (copied_mails(base, seed, copy) for copy in count())
    else:
        raise SystemExit(f"no usable mail in {maildir}")
    return write_mails(file, islice(kept(chain.from_iterable(copies)), mails))


def kept(mails: Iterable[Email]) -> Iterator[Email]:
    """The mails that both databases store: what ``build_database`` would keep, if dated.

    ART-E knows no mail without a date, and its ``date < ?`` would find ours, which are empty.
    """
    seen: set[int] = set()
    for mail in mails:
        marks = {hash((mail.subject, mail.body, mail.sender)), hash(mail.message_id)}
        people = len({*mail.to, *mail.cc, *mail.bcc})
        fits = len(mail.body) <= MAX_BODY_CHARS and people <= MAX_RECIPIENTS
        if mail.date and fits and seen.isdisjoint(marks):
            seen |= marks
            yield mail


def build_plain(path: Path, mails: Iterable[Email]) -> None:
    """ART-E's load: one insert a mail, then indexes and a rebuild over a second connection.

    Its filters are not repeated here, a little to its advantage: the corpus is filtered already.
    """
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(_PLAIN_TABLES)
    connection.executescript("PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY;")
    cursor = connection.cursor()
    for mail in mails:
        cursor.execute(
            "INSERT INTO emails(message_id, subject, from_address, date, body, file_name)"
            " VALUES(?,?,?,?,?,?)",
            (mail.message_id, mail.subject, mail.sender, mail.date, mail.body, mail.file_name),
        )
        kinds = (("to", mail.to), ("cc", mail.cc), ("bcc", mail.bcc))
        rows = [(cursor.lastrowid, address, kind) for kind, group in kinds for address in group]
        cursor.executemany("INSERT INTO recipients VALUES(?,?,?)", rows)
    connection.commit()
    connection.close()
    connection = sqlite3.connect(path)
    connection.executescript(_PLAIN_INDEXES)
    connection.close()


def search_plain(connection: sqlite3.Connection, query: Query) -> Hits:
    match = " ".join(f'"{word}"' for word in query.keywords)  # letters only: nothing to escape
    days = {"AND e.date >= ?": query.after, "AND e.date < ?": query.before}
    values = [match, query.inbox, query.inbox, *(f"{day} 00:00:00" for day in days.values() if day)]
    bounds = " ".join(bound for bound, day in days.items() if day)
    rows = connection.execute(_PLAIN_SEARCH.format(bounds=bounds), (*values, LIMIT)).fetchall()
    return [(sent, message_id) for sent, message_id, _ in rows]


def search_ours(database: EmailDatabase, query: Query) -> Hits:
    inbox, keywords, after, before = query
    hits = database.search(inbox, keywords, sent_after=after, sent_before=before, limit=LIMIT)
    return [(hit.date, hit.message_id) for hit in hits]


def draw_queries(
    inboxes: dict[str, int], plain: sqlite3.Connection, rng: random.Random
) -> Iterator[Query]:
    """Queries without end, each made from a mail that it finds.

    Every other inbox is drawn in proportion to its mails, so mostly a large one; the others evenly
    from those with ``TYPICAL_MAILS`` or more. Four queries in ten are bounded by dates.
    """
    owners = list(inboxes)
    weights = list(accumulate(inboxes.values()))
    typical = [owner for owner in owners if inboxes[owner] >= TYPICAL_MAILS] or owners
    for number in count():
        inbox = rng.choice(typical) if number % 2 else rng.choices(owners, cum_weights=weights)[0]
        place = {"address": inbox, "at": rng.randrange(inboxes[inbox])}
        subject, body, sent = plain.execute(
            f"SELECT subject, body, date FROM emails WHERE id = ({_MAILS_OF})", place
        ).fetchone()
        words = sorted(set(_WORD.findall(f"{subject} {body}".lower())) - _COMMON)
        if words:
            keywords = rng.sample(words, min(len(words), rng.randint(1, 3)))
            day = date.fromisoformat(sent[:10])
            after, before = (str(day + timedelta(sign * rng.randint(1, 90))) for sign in (-1, 1))
            first, last = rng.choice(_BOUNDS)
            yield Query(inbox, keywords, after if first else None, before if last else None)


def measure(searches: Searches, queries: Sequence[Query]) -> dict[str, list[Answer]]:
    """Every database's answers. They take turns, a block of queries at a time, so that drift of
    the machine hits all alike."""
    answers: dict[str, list[Answer]] = {name: [] for name in searches}
    order = list(searches)
    for start in range(0, len(queries), BLOCK):
        for name in order:
            for query in queries[start : start + BLOCK]:
                clock, processor = time.perf_counter(), time.thread_time()
                hits = searches[name](query)
                ms = (time.perf_counter() - clock) * 1e3
                answers[name].append(Answer(hits, ms, (time.thread_time() - processor) * 1e3))
        order.append(order.pop(0))
    return answers


def latency(answers: Sequence[Answer]) -> Figures:
    figures: Figures = {}
    for unit in ("ms", "cpu_ms"):
        times = [getattr(answer, unit) for answer in answers]
        figures[f"mean_{unit}"] = statistics.fmean(times)
        figures[f"p50_{unit}"] = statistics.median(times)
        figures[f"p99_{unit}"] = statistics.quantiles(times, n=100, method="inclusive")[98]
    return figures


def agree(one: Hits, other: Hits) -> bool:
    """Whether two answers to a query are the same, by the rule of the module's docstring."""
    cut = one[-1][0] if len(one) == LIMIT else ""
    above = ({hit for hit in hits if hit[0] > cut} for hits in (one, other))
    return [sent for sent, _ in one] == [sent for sent, _ in other] and next(above) == next(above)


def timed(work: Callable[[], object]) -> Figures:
    """Seconds that ``work`` takes, on the clock and on the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"build_s": time.perf_counter() - wall, "build_cpu_s": time.process_time() - cpu}


def build(corpus: Path, plain: Path, ours: Path, mails: int) -> dict[str, Figures]:
    """Build both databases from the corpus of that many mails; seconds and megabytes of each."""
    columns = {
        "reading": timed(lambda: deque(read_mails(corpus), maxlen=0)),
        "plain": timed(lambda: build_plain(plain, read_mails(corpus))),
        "ours": timed(lambda: build_database(ours, read_mails(corpus))),
    }
    for name, file in (("plain", plain), ("ours", ours)):
        columns[name]["file_mb"] = file.stat().st_size / 1e6
        with closing(sqlite3.connect(file)) as connection:
            (stored,) = connection.execute("SELECT count(*) FROM emails").fetchone()
        assert stored == mails, f"{name} stored {stored} of {mails} mails"
    return columns


def ask(
    plain_file: Path, our_file: Path, queries: int, seed: int
) -> tuple[dict[str, Figures], dict[str, int]]:
    """Latencies of each database, and how many of the answers agree."""
    read_only = f"{plain_file.absolute().as_uri()}?mode=ro"
    plain, tuned = (sqlite3.connect(read_only, uri=True) for _ in range(2))
    tuned.executescript("PRAGMA mmap_size=4000000000; PRAGMA cache_size=-64000;")
    ours = EmailDatabase(our_file)
    searches = {
        "plain": partial(search_plain, plain),
        "tuned": partial(search_plain, tuned),
        "ours": partial(search_ours, ours),
    }
    drawn = draw_queries(ours.inboxes(), plain, random.Random(f"queries {seed}"))
    measure(searches, list(islice(drawn, queries // 4)))  # the warm-up, with queries of its own
    timed_queries = list(islice(drawn, queries))
    answers = measure(searches, timed_queries)
    pairs = [
        (one.hits, other.hits) for one, other in zip(answers["plain"], answers["ours"], strict=True)
    ]
    different = [number for number, pair in enumerate(pairs) if not agree(*pair)]
    for number in different:
        print(f"DIFFERENT: {timed_queries[number]}\n{pairs[number]}", file=sys.stderr)
    totals = {
        "queries": len(pairs),
        "agree": len(pairs) - len(different),
        "same_ids": sum(set(one) == set(other) for one, other in pairs),
        "full": sum(len(one) == LIMIT for one, _ in pairs),
    }
    return {name: latency(mine) for name, mine in answers.items()}, totals


def report(columns: dict[str, Figures], totals: Mapping[str, object]) -> None:
    """Print the table (seconds, MB, ms), then the same figures as a line of JSON."""
    ours = columns["ours"]
    columns["plain/ours"] = {row: columns["plain"][row] / ours[row] for row in ours}
    print(" " * 12 + "".join(f"{name:>12}" for name in columns))
    for row in ours:
        cells = (f"{c[row]:12.3f}" if row in c else " " * 12 for c in columns.values())
        print(f"{row:12}" + "".join(cells))
    print(
        "{agree} of {queries} queries agree, {same_ids} with the very same ids; {full} answers are"
        " as long as the limit".format_map(totals)
    )
    print(json.dumps({**totals, **columns}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mails", type=int, default=500_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--maildir", type=Path, help="real mails to copy; else generated ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, help="keep corpus and databases in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.workspace or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        corpus, plain, ours = (folder / name for name in ("corpus.parquet", "plain.db", "ours.db"))
        mails = write_corpus(corpus, args.maildir, args.mails, args.seed)
        print(f"{mails:,} mails written, now building", file=sys.stderr)
        columns = build(corpus, plain, ours, mails)
        latencies, totals = ask(plain, ours, args.queries, args.seed)
    columns = {name: columns.get(name, {}) | latencies.get(name, {}) for name in _COLUMNS}
    source = "maildir" if args.maildir else "sample"
    report(columns, {"mails": mails, "source": source, **totals, "sqlite": sqlite3.sqlite_version})
    raise SystemExit(0 if totals["agree"] == totals["queries"] else 1)


if __name__ == "__main__":
    main()
