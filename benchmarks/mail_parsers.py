"""Our reading of mails beside that of the standard library's modern policy, over a folder of mails.

    python -m benchmarks.mail_parsers FOLDER [--show subject]

Counts mails by what became of them, and of the stored ones, per field, how often both agree; with
``--show`` the differences of one field are printed to be looked at.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC
from email.message import EmailMessage
from pathlib import Path

from environment.email_search.models import Email
from environment.email_search.sources import Tally
from environment.email_search.sources.rfc822 import NotAMail, parse_mail


def _date(message: EmailMessage) -> str:
    moment = message["date"].datetime
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def _addresses(name: str) -> Callable[[EmailMessage], object]:
    def of(message: EmailMessage) -> object:
        header = message[name]
        return [a.addr_spec.lower() for a in header.addresses if a.domain] if header else []

    return of


FIELDS: dict[str, tuple[Callable[[Email], object], Callable[[EmailMessage], object]]] = {
    "subject": (lambda m: m.subject, lambda m: " ".join(str(m["subject"] or "").split())),
    "to": (lambda m: m.to, _addresses("to")),
    "cc": (lambda m: m.cc, _addresses("cc")),
    "date": (lambda m: m.date, _date),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", choices=FIELDS)
    arguments = parser.parse_args()
    files = sorted(p for p in arguments.folder.rglob("*") if p.is_file())
    tally, outcomes, results = Tally(), Counter[str](), Counter[tuple[str, str]]()
    seconds, unreadable = 0.0, 0
    for file in files:
        raw = file.read_bytes()
        started = time.perf_counter()
        try:
            ours = parse_mail(raw, file.name, tally)
        except NotAMail as reason:
            outcomes[str(reason)] += 1
            continue
        finally:
            seconds += time.perf_counter() - started
        outcomes["stored"] += 1
        unreadable += "\ufffd" in ours.subject
        theirs = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(theirs, EmailMessage)
        for field, (our, their) in FIELDS.items():
            mine = our(ours)
            try:
                other = their(theirs)
            except Exception as error:  # noqa: BLE001 (whatever that parser makes of broken mails)
                results[field, f"they fail: {type(error).__name__}"] += 1
                continue
            results[field, "equal" if mine == other else "differ"] += 1
            if mine != other and field == arguments.show:
                print(f"{file.name}\n  ours    {mine!a}\n  theirs  {other!a}")
    print(f"{len(files)} files, {1e3 * seconds / len(files):.2f} ms each")
    for outcome, count in outcomes.most_common():
        print(f"{count:>7}  {outcome}")
    print(f"{unreadable:>7}  subjects with U+FFFD")
    for (field, result), count in sorted(results.items()):
        print(f"{count:>7}  {field}: {result}")


if __name__ == "__main__":
    main()
