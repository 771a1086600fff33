"""Our mail database beside ART-E's plain schema: the same mails, the same queries, both timed.

    python -m benchmarks.email_db [--mails 500000] [--queries 1000] [--maildir FOLDER]

*Plain* is ART-E's published design: row ids in order of arrival, its tables, its indexes, its one
join over mails, full-text index and recipients, opened as ART-E opens it. *Plain, tuned* is the
same file opened with our cache and memory map: what lies between it and ours is the schema's doing.

Both databases are built from one corpus file that holds only mails both keep: dated, within the
thresholds of ``build_database``, no repeat. The time to read that file is part of both builds, and
printed. Real mails (``--maildir``) are copied until there are enough; a copy has its own message
id, one more word, another date, and another company's addresses after every few copies.

Two answers to a query *agree* if they show the same dates in the same order and the same message
ids. One exception: a full answer may be cut within a run of mails of one date, and which of those
come through is neither schema's promise. So ids at the last date of a full answer are not compared.
A disagreement ends the program with status 1. Latencies are of a warm cache and one thread.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import accumulate, count, islice
from pathlib import Path
from typing import Any

from environment.email_search.corpus_file import read_mails, write_mails
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import Email
from environment.email_search.sample.corpus import DOMAIN, generate
from environment.email_search.sources import Tally
from environment.email_search.sources.files import MaildirSource

MAX_BODY_CHARS, MAX_RECIPIENTS, LIMIT = 5_000, 30, 10
BLOCK = 25  # queries one database answers before the next one's turn
COPIES_PER_COMPANY = 5
SHIFT_MINUTES = 180 * 24 * 60
TYPICAL_MAILS = 20  # an inbox of fewer is no one's to ask about
_WORD = re.compile(r"[^\W\d_]{4,}")
# Words nobody searches for; they would only measure how long a list of all mails is.
_COMMON = frozenset(
    "about after also been before could does each from have here into just know like more much "
    "need only other over please said same should some such than thanks that their them then "
    "there these they this those through very want were what when where which will with would "
    "your".split()
)

_PLAIN_TABLES = """
CREATE TABLE emails(id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE, subject TEXT,
    from_address TEXT, date TEXT, body TEXT, file_name TEXT);
CREATE TABLE recipients(email_id INTEGER, recipient_address TEXT, recipient_type TEXT,
    FOREIGN KEY(email_id) REFERENCES emails(id) ON DELETE CASCADE);
"""
# ART-E's triggers are left out: they are made after the load and never fire.
_PLAIN_INDEXES = """
CREATE INDEX emails_from ON emails(from_address);
CREATE INDEX emails_date ON emails(date);
CREATE INDEX emails_message_id ON emails(message_id);
CREATE INDEX recipients_address ON recipients(recipient_address);
CREATE INDEX recipients_type ON recipients(recipient_type);
CREATE INDEX recipients_email ON recipients(email_id);
CREATE INDEX recipients_address_email ON recipients(recipient_address, email_id);
CREATE VIRTUAL TABLE emails_fts USING fts5(subject, body, content='emails', content_rowid='id');
INSERT INTO emails_fts(emails_fts) VALUES('rebuild');
"""
_PLAIN_SEARCH = """
SELECT e.message_id, snippet(emails_fts, -1, '<b>', '</b>', ' ... ', 15)
FROM emails e JOIN emails_fts fts ON e.id = fts.rowid
WHERE fts.emails_fts MATCH ? AND (e.from_address = ? OR EXISTS (SELECT 1 FROM recipients r
    WHERE r.recipient_address = ? AND r.email_id = e.id)) {bounds}
ORDER BY e.date DESC LIMIT ?
"""
_MAILS_OF = """
SELECT id FROM emails WHERE from_address = :address
UNION SELECT email_id FROM recipients WHERE recipient_address = :address LIMIT 1 OFFSET :at
"""


@dataclass(frozen=True, slots=True)
class Query:
    """One search, as an agent would ask it. Days are ``YYYY-MM-DD``: after includes, before not."""

    inbox: str
    keywords: list[str]
    sent_after: str | None = None
    sent_before: str | None = None


Search = Callable[[Query], list[str]]  # the message ids found, newest first


@dataclass(slots=True)
class Timing:
    """What one database took: ``wall`` and ``cpu`` in seconds, one figure a query."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Milliseconds a query."""
        return {
            "mean_ms": statistics.fmean(self.wall) * 1e3,
            "p50_ms": statistics.median(self.wall) * 1e3,
            "p99_ms": statistics.quantiles(self.wall, n=100, method="inclusive")[98] * 1e3,
            "cpu_ms": statistics.fmean(self.cpu) * 1e3,
        }


def sample_mails(seed: int) -> Iterator[Email]:
    """Generated mails without end, seed after seed.

    A generated inbox is always small, real ones are not: of 16 owners, four keep one address for 4
    seeds, four for 16 and four for 64, so that inboxes hold some 250, 1,000, 4,000 and 16,000.
    """
    for copy in count():
        inboxes = generate(seed + copy)
        names = {
            inbox.address: f"owner{index}.{copy // 4 ** (index % 4)}@{DOMAIN}"
            for index, inbox in enumerate(inboxes)
        }
        for inbox in inboxes:
            for mail in inbox.mails:
                # Ids are unique within a seed only.
                mail_id = f"{mail.message_id}{copy}"
                yield renamed(replace(mail, message_id=mail_id), lambda a: names.get(a, a))


def renamed(mail: Email, name: Callable[[str], str]) -> Email:
    to, cc, bcc = ([name(address) for address in kind] for kind in (mail.to, mail.cc, mail.bcc))
    return replace(mail, sender=mail.sender and name(mail.sender), to=to, cc=cc, bcc=bcc)


def real_mails(folder: Path, base: Path, mails: int, seed: int) -> Iterator[Email]:
    """The mails under ``folder``, then copies of them without end; ``base`` is a file to use."""
    source = kept(MaildirSource(folder).emails(Tally()))
    if not write_mails(base, islice(source, mails)):
        raise SystemExit(f"no usable mail in {folder}")
    yield from read_mails(base)
    rng = random.Random(f"copies {seed}")
    for copy in count(1):
        company = copy // COPIES_PER_COMPANY
        for mail in read_mails(base):
            moment = datetime.fromisoformat(mail.date)
            moment += timedelta(minutes=rng.randint(-SHIFT_MINUTES, SHIFT_MINUTES))
            varied = replace(
                mail,
                message_id=f"{mail.message_id}{copy}",
                date=f"{moment:%Y-%m-%d %H:%M:%S}",
                body=f"{mail.body}\ncopy{copy}",
            )
            yield renamed(varied, lambda a: f"{company}.{a}") if company else varied


def kept(mails: Iterable[Email]) -> Iterator[Email]:
    """The mails that both databases store: what ``build_database`` would keep, if dated.

    ART-E knows no mail without a date, and its ``date < ?`` would find ours, which are empty.
    """
    contents: set[int] = set()
    ids: set[str] = set()
    for mail in mails:
        content = hash((mail.subject, mail.body, mail.sender))
        recipients = {*mail.to, *mail.cc, *mail.bcc}
        if len(mail.body) > MAX_BODY_CHARS or len(recipients) > MAX_RECIPIENTS or not mail.date:
            continue
        if content not in contents and mail.message_id not in ids:
            contents.add(content)
            ids.add(mail.message_id)
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


def plain_search(connection: sqlite3.Connection) -> Search:
    def search(query: Query) -> list[str]:
        match = " ".join('"' + word.replace('"', '""') + '"' for word in query.keywords)
        bounds, values = "", [match, query.inbox, query.inbox]
        for sign, day in ((">=", query.sent_after), ("<", query.sent_before)):
            if day:
                bounds += f" AND e.date {sign} ?"
                values.append(f"{day} 00:00:00")
        rows = connection.execute(_PLAIN_SEARCH.format(bounds=bounds), (*values, LIMIT))
        return [message_id for message_id, _ in rows.fetchall()]

    return search


def our_search(database: EmailDatabase) -> Search:
    def search(query: Query) -> list[str]:
        hits = database.search(
            query.inbox,
            query.keywords,
            sent_after=query.sent_after,
            sent_before=query.sent_before,
            limit=LIMIT,
        )
        return [hit.message_id for hit in hits]

    return search


def open_plain(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def draw_queries(
    inboxes: dict[str, int], plain: sqlite3.Connection, rng: random.Random
) -> Iterator[Query]:
    """Queries without end, each made from a mail that it finds.

    Every other inbox is drawn in proportion to its mails, so mostly a large one; the others evenly
    from those with ``TYPICAL_MAILS`` or more. Four queries in ten are bounded by dates.
    """
    names = list(inboxes)
    weights = list(accumulate(inboxes.values()))
    typical = [name for name in names if inboxes[name] >= TYPICAL_MAILS] or names
    for number in count():
        inbox = rng.choice(typical) if number % 2 else rng.choices(names, cum_weights=weights)[0]
        place = {"address": inbox, "at": rng.randrange(inboxes[inbox])}
        subject, body, sent = plain.execute(
            f"SELECT subject, body, date FROM emails WHERE id = ({_MAILS_OF})", place
        ).fetchone()
        words = sorted(set(_WORD.findall(f"{subject} {body}".lower())) - _COMMON)
        if words:
            keywords = rng.sample(words, min(len(words), rng.randint(1, 3)))
            after, before = rng.choice(((0, 0),) * 6 + ((1, 0), (1, 0), (0, 1), (1, 1)))
            day = date.fromisoformat(sent[:10])
            start, end = (day + timedelta(sign * rng.randint(1, 90)) for sign in (-1, 1))
            yield Query(
                inbox, keywords, str(start) if after else None, str(end) if before else None
            )


def measure(searches: dict[str, Search], queries: Sequence[Query]) -> dict[str, Timing]:
    """Run all queries on all databases, block by block in turn, so that drift hits all alike."""
    timings = {name: Timing() for name in searches}
    order = list(searches)
    for start in range(0, len(queries), BLOCK):
        for name in order:
            search, timing = searches[name], timings[name]
            for query in queries[start : start + BLOCK]:
                cpu, wall = time.process_time(), time.perf_counter()
                answer = search(query)
                timing.wall.append(time.perf_counter() - wall)
                timing.cpu.append(time.process_time() - cpu)
                timing.answers.append(answer)
        order.append(order.pop(0))
    return timings


def agree(one: Sequence[str], other: Sequence[str], dates: Callable[[str], str]) -> bool:
    """Whether two answers to one query are the same, by the rule of the module's docstring."""
    first, second = ([(dates(mail), mail) for mail in answer] for answer in (one, other))
    if [sent for sent, _ in first] != [sent for sent, _ in second]:
        return False
    open_end = first[-1][0] if len(first) == LIMIT else ""
    return {hit for hit in first if hit[0] > open_end} == {
        hit for hit in second if hit[0] > open_end
    }


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds that ``work`` takes, on the clock and on the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"build_s": time.perf_counter() - wall, "build_cpu_s": time.process_time() - cpu}


def print_table(columns: dict[str, dict[str, float]]) -> None:
    print(f"{'':14}" + "".join(f"{name:>14}" for name in columns))
    for row in columns["ours"]:
        cells = (
            f"{figures[row]:14.3f}" if row in figures else " " * 14 for figures in columns.values()
        )
        print(f"{row:14}" + "".join(cells))


def run(args: argparse.Namespace, folder: Path) -> bool:
    """Build, ask, compare and print; whether all answers agree."""
    corpus, plain_file, our_file = (folder / n for n in ("corpus.parquet", "plain.db", "ours.db"))
    if args.maildir:
        mails = real_mails(args.maildir, folder / "base.parquet", args.mails, args.seed)
    else:
        mails = sample_mails(args.seed)
    stored = write_mails(corpus, islice(kept(mails), args.mails))
    print(f"{stored:,} mails written; building both databases", file=sys.stderr)

    def build_ours() -> None:
        report = build_database(our_file, read_mails(corpus))
        assert report.stored == stored, f"not all mails were stored: {report}"

    read = timed(lambda: sum(1 for _ in read_mails(corpus)))
    builds = {"plain": timed(lambda: build_plain(plain_file, read_mails(corpus)))}
    builds["ours"] = timed(build_ours)
    for name, file in (("plain", plain_file), ("ours", our_file)):
        builds[name]["file_mb"] = file.stat().st_size / 1e6

    plain, tuned, ours = open_plain(plain_file), open_plain(plain_file), EmailDatabase(our_file)
    tuned.executescript("PRAGMA mmap_size=4000000000; PRAGMA cache_size=-64000;")
    searches = {"plain": plain_search(plain), "plain, tuned": plain_search(tuned)}
    searches["ours"] = our_search(ours)
    drawn = draw_queries(ours.inboxes(), plain, random.Random(f"queries {args.seed}"))
    measure(searches, list(islice(drawn, max(BLOCK, args.queries // 4))))  # the warm-up
    queries = list(islice(drawn, args.queries))
    timings = measure(searches, queries)

    def sent(mail: str) -> str:
        return plain.execute("SELECT date FROM emails WHERE message_id = ?", (mail,)).fetchone()[0]

    pairs = list(zip(timings["plain"].answers, timings["ours"].answers, strict=True))
    agreeing = [agree(one, other, sent) for one, other in pairs]
    for query, (one, other), same in zip(queries, pairs, agreeing, strict=True):
        if not same:
            print(f"DISAGREE {query}\n  plain {one}\n  ours  {other}", file=sys.stderr)
    columns = {name: builds.get(name, {}) | timings[name].figures() for name in searches}
    ratio = {row: columns["plain"][row] / figure for row, figure in columns["ours"].items()}
    print_table(columns | {"plain / ours": ratio})
    totals: dict[str, Any] = {
        "mails": stored,
        "source": "maildir" if args.maildir else "sample",
        "sqlite": sqlite3.sqlite_version,
        "read_s": round(read["build_s"], 3),
        "queries": len(queries),
        "agree": sum(agreeing),
        "same_ids": sum(set(one) == set(other) for one, other in pairs),
        "full_answers": sum(len(one) == LIMIT for one, _ in pairs),
    }
    print(
        f"{totals['agree']} of {len(queries)} queries agree ({totals['same_ids']} with the very same"
        f" ids); {totals['full_answers']} fill the limit of {LIMIT}. Reading the corpus alone takes"
        f" {totals['read_s']} s of each build."
    )
    figures = {
        name: {k: round(v, 4) for k, v in column.items()} for name, column in columns.items()
    }
    print(json.dumps(totals | figures | {"ratio": {k: round(v, 2) for k, v in ratio.items()}}))
    return all(agreeing)


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
        agreed = run(args, folder)
    raise SystemExit(0 if agreed else 1)


if __name__ == "__main__":
    main()
