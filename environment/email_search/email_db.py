"""Emails in one SQLite file, optimised for finding keywords in one inbox, newest first.

Three design decisions make it fast (``benchmarks/email_db.py`` compares it with a plain schema):

- Row ids follow date order, so newest first is the index's own order, a search stops at its last
  hit, and a date bound is a range of row ids.
- Each row of the full-text index carries a token per participant (``p7``: address 7 takes part;
  ``f7``: it sent; ``t7``: it received), so the index itself filters by inbox, sender and
  recipient. Keywords are confined to subject and body: the keyword ``p7`` never matches a token.
- The index is built in one go from the finished table and merged into one segment.

The file is an artifact: written once, renamed into place when complete, then read-only.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from environment.email_search.models import BuildReport, Email, SearchHit, counts_text, parse_day
from environment.email_search.query import BadQuery, clean, first_words, keyword_phrases, snippet

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x41525431  # "ART1"

_STAGING = """
CREATE TABLE stage.mail(seq INTEGER PRIMARY KEY, date TEXT, message_id TEXT, sender TEXT,
    recipients TEXT, people TEXT, subject TEXT, body TEXT, file_name TEXT)
"""
_TABLES = """
CREATE TABLE emails(id INTEGER PRIMARY KEY, date TEXT, message_id TEXT, sender TEXT,
    recipients TEXT, people TEXT, subject TEXT, body TEXT, file_name TEXT);
CREATE TABLE addresses(id INTEGER PRIMARY KEY, address TEXT, mails INTEGER);
CREATE VIRTUAL TABLE emails_fts USING fts5(subject, body, people,
    content='emails', content_rowid='id');
"""
_INDEXES = """
CREATE UNIQUE INDEX emails_message_id ON emails(message_id);
CREATE INDEX emails_date ON emails(date);
CREATE UNIQUE INDEX addresses_address ON addresses(address);
"""
_SELECT = (
    "SELECT message_id, date, subject, sender, recipients, body, file_name, people FROM emails"
)


def build_database(
    path: Path,
    emails: Iterable[Email],
    *,
    skipped: Counter[str] | None = None,
    notes: Counter[str] | None = None,
    max_body_chars: int = 5_000,
    max_recipients: int = 30,
) -> BuildReport:
    """Write ``emails`` to a new database, atomically replacing any file at ``path``.

    Skips and counts emails with a body over ``max_body_chars``, with more than ``max_recipients``
    distinct recipients, with the subject, body and sender of an earlier one, or with an earlier
    one's message id. The thresholds are ART-E's.

    Args:
        skipped: the source's own counts by reason; read once ``emails`` is exhausted.
        notes: counts by reason of emails that the source repaired.

    Raises:
        ValueError: no email is left to store.
    """
    reasons: Counter[str] = Counter()
    addresses: dict[str, int] = {}
    mails_of: Counter[int] = Counter()
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(partial, isolation_level=None)
    try:
        # Durability does not matter: a crashed build leaves only the .partial file.
        connection.executescript(
            "PRAGMA page_size=8192; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "PRAGMA cache_size=-200000; ATTACH '' AS stage;"
        )
        connection.execute(_STAGING)
        connection.executescript(_TABLES)
        connection.execute("BEGIN")
        rows = _rows(emails, reasons, addresses, mails_of, max_body_chars, max_recipients)
        connection.executemany("INSERT INTO stage.mail VALUES(NULL,?,?,?,?,?,?,?,?)", rows)
        connection.execute(
            "INSERT INTO emails SELECT NULL, date, message_id, sender, recipients, people, subject,"
            " body, file_name FROM stage.mail ORDER BY date, seq"
        )
        connection.executemany(
            "INSERT INTO addresses VALUES(?,?,?)",
            ((number, address, mails_of[number]) for address, number in addresses.items()),
        )
        for statement in _INDEXES.split(";"):
            connection.execute(statement)
        for command in ("'hashsize', 67108864", "'automerge', 0"):
            connection.execute(f"INSERT INTO emails_fts(emails_fts, rank) VALUES({command})")
        for command in ("rebuild", "optimize"):
            connection.execute("INSERT INTO emails_fts(emails_fts) VALUES(?)", (command,))
        (stored,) = connection.execute("SELECT count(*) FROM emails").fetchone()
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute("COMMIT")
    finally:
        connection.close()
    reasons.update(skipped or {})
    if not stored:
        partial.unlink()
        raise ValueError(f"no email to store: {counts_text(reasons) or 'the source is empty'}")
    os.replace(partial, path)
    return BuildReport(
        stored=stored,
        skipped=dict(sorted(reasons.items())),
        notes=dict(sorted((notes or Counter()).items())),
        inboxes=len(addresses),
    )


def _rows(
    emails: Iterable[Email],
    reasons: Counter[str],
    addresses: dict[str, int],
    mails_of: Counter[int],
    max_body_chars: int,
    max_recipients: int,
) -> Iterator[tuple[str, ...]]:
    """The staging rows of accepted emails; counts the rest in ``reasons``."""
    contents: set[int] = set()
    message_ids: set[str] = set()

    def number(address: str) -> int:
        return addresses.setdefault(address, len(addresses) + 1)

    for mail in emails:
        recipients = {a.lower() for a in (*mail.to, *mail.cc, *mail.bcc) if a}
        if len(mail.body) > max_body_chars:
            reasons["body_too_long"] += 1
            continue
        if len(recipients) > max_recipients:
            reasons["too_many_recipients"] += 1
            continue
        content = hash((mail.subject, mail.body, mail.sender))
        if content in contents:
            reasons["duplicate"] += 1
            continue
        if mail.message_id in message_ids:
            reasons["message_id_taken"] += 1
            continue
        contents.add(content)
        message_ids.add(mail.message_id)
        received = {number(address) for address in recipients}
        sent = {number(mail.sender.lower())} if mail.sender else set()
        mails_of.update(received | sent)
        people = [f"p{n}" for n in received | sent]
        people += [f"t{n}" for n in received] + [f"f{n}" for n in sent]
        yield (
            mail.date,
            mail.message_id,
            mail.sender,
            json.dumps({"to": mail.to, "cc": mail.cc, "bcc": mail.bcc}),
            " ".join(people),
            mail.subject,
            mail.body,
            mail.file_name,
        )


class EmailDatabase:
    """Thread-safe read access to a database written by ``build_database``."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            FileNotFoundError: ``path`` does not exist.
            ValueError: the file is not a database of this schema version.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no email database at {path}: run the data pipeline first")
        self.path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            (owner,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is not an email database: {error}") from error
        if owner != _APPLICATION_ID:
            raise ValueError(f"{path} is not an email database of this project")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {version}, expected {SCHEMA_VERSION}: "
                "run the data pipeline again"
            )

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's connection: threads sharing one would block each other."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            connection.execute("PRAGMA mmap_size=4000000000")
            connection.execute("PRAGMA cache_size=-64000")
            self._local.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def search(
        self,
        inbox: str,
        keywords: object,
        *,
        sender: str | None = None,
        recipient: str | None = None,
        sent_after: str | None = None,
        sent_before: str | None = None,
        limit: int = 10,
        snippet_words: int = 15,
    ) -> list[SearchHit]:
        """The newest ``limit`` emails in ``inbox`` that contain every keyword, newest first.

        Args:
            sent_after: ``YYYY-MM-DD``, inclusive.
            sent_before: ``YYYY-MM-DD``, exclusive. Undated emails match no date bound.

        Raises:
            BadQuery: no usable keyword, or an invalid date.
        """
        phrases = keyword_phrases(keywords)
        low, high = self._row_range(sent_after, sent_before)
        tokens = []
        for prefix, address in (("p", inbox), ("f", sender), ("t", recipient)):
            if not address and prefix != "p":
                continue
            number = self._address_number(address or "")
            if number is None:
                return []
            tokens.append(f'"{prefix}{number}"')
        match = (
            f"{{subject body}} : ({' AND '.join(phrases)}) AND people : ({' AND '.join(tokens)})"
        )
        rows = self._connection.execute(
            "SELECT e.message_id, e.date, e.sender, e.subject, e.body FROM emails_fts AS f"
            " JOIN emails AS e ON e.id = f.rowid WHERE emails_fts MATCH ?"
            " AND f.rowid BETWEEN ? AND ? ORDER BY f.rowid DESC LIMIT ?",
            (match, low, high, limit),
        )
        words = first_words(phrases)
        return [
            SearchHit(message_id, date, sender_, subject, snippet(body, words, snippet_words))
            for message_id, date, sender_, subject, body in rows
        ]

    def read(self, inbox: str, message_id: str) -> Email | None:
        """The email with this id, or None if ``inbox`` holds no such email."""
        number = self._address_number(inbox)
        row = self._connection.execute(
            f"{_SELECT} WHERE message_id = ?", (clean(message_id),)
        ).fetchone()
        if row is None or f"p{number}" not in row[-1].split():
            return None
        return _email(row)

    def has_inbox(self, address: str) -> bool:
        return self._address_number(address) is not None

    def emails(self) -> Iterator[Email]:
        """Every email, oldest first."""
        return map(_email, self._connection.execute(f"{_SELECT} ORDER BY id"))

    def inboxes(self) -> dict[str, int]:
        """The number of emails each address takes part in, largest first."""
        query = "SELECT address, mails FROM addresses ORDER BY mails DESC, address"
        return dict(self._connection.execute(query).fetchall())

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()

    def _address_number(self, address: str) -> int | None:
        return self._first(
            "SELECT id FROM addresses WHERE address = ?", clean(address).strip().lower()
        )

    def _row_range(self, sent_after: str | None, sent_before: str | None) -> tuple[int, int]:
        low, high = 0, 1 << 62
        if sent_after or sent_before:
            low = self._first_row_on("0") or high
        try:
            if sent_after:
                low = self._first_row_on(parse_day(sent_after).isoformat()) or high
            if sent_before:
                first_after = self._first_row_on(parse_day(sent_before).isoformat())
                high = high if first_after is None else first_after - 1
        except ValueError as error:
            raise BadQuery(str(error)) from error
        return low, high

    def _first_row_on(self, day: str) -> int | None:
        return self._first("SELECT id FROM emails WHERE date >= ? ORDER BY date, id LIMIT 1", day)

    def _first(self, query: str, value: str) -> int | None:
        row = self._connection.execute(query, (value,)).fetchone()
        return None if row is None else row[0]


def _email(row: Sequence[str]) -> Email:
    message_id, date, subject, sender, recipients, body, file_name, _ = row
    return Email(
        message_id, date, subject, sender, body=body, file_name=file_name, **json.loads(recipients)
    )
