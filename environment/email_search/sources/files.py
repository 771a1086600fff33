"""Emails in files: a folder with one email per file (``maildir``), or mbox archives (``mbox``)."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from pathlib import Path

from environment.email_search.models import Email
from environment.email_search.sources import SourceError, Tally
from environment.email_search.sources.rfc822 import NotAMail, parse_mail


class MaildirSource:
    """One email per file under ``path``, in path order: CMU's ``maildir/<custodian>/<folder>/<N>.``
    as well as a Maildir with ``cur`` and ``new``."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise SourceError(f"{path} is not a folder: point data.path at a folder of emails")
        self.path = path

    def emails(self, tally: Tally) -> Iterator[Email]:
        for file in sorted(p for p in self.path.rglob("*") if p.is_file()):
            try:
                yield parse_mail(file.read_bytes(), str(file.relative_to(self.path)), tally)
            except NotAMail as reason:
                tally.skipped[str(reason)] += 1
            except OSError:
                tally.skipped["unreadable_file"] += 1


class MboxSource:
    """One mbox file, or every ``*.mbox`` in a folder."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise SourceError(f"there is no {path}: point data.path at an mbox file or a folder")
        paths = [path] if path.is_file() else sorted(path.rglob("*.mbox"))
        self.files = [file for file in paths if file.is_file()]
        if not self.files:
            raise SourceError(f"no *.mbox file in {path}")

    def emails(self, tally: Tally) -> Iterator[Email]:
        for file in self.files:
            box = mailbox.mbox(file, create=False)
            try:
                for key in box.iterkeys():
                    try:
                        yield parse_mail(box.get_bytes(key), f"{file.name}#{key}", tally)
                    except NotAMail as reason:
                        tally.skipped[str(reason)] += 1
            finally:
                box.close()
