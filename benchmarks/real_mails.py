"""How far plain search gets on real questions: is the gold mail among the first ten hits?

    python -m benchmarks.real_mails --maildir FOLDER --questions FILE.jsonl

Builds the database from a maildir and searches the question's inbox for its content words, as a
policy that only copies words would: all of them first, then one fewer at a time, the shortest left
out first, until something is found. Also counts where every mail of the source went.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from datetime import date, timedelta
from pathlib import Path

from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import EmailScenario
from environment.email_search.scenarios import read_scenarios
from environment.email_search.sources import Tally
from environment.email_search.sources.files import MaildirSource

_STOP = frozenset(
    "a an the is are was were be been do does did has have had will would can could should may of to "
    "in on at for by from with about as and or not what when where which who whom whose why how i me "
    "my we our you your he his she her they their it its this that there any some into if than then "
    "after before during between".split()
)
_HITS = 10


def content_words(question: str) -> list[str]:
    """The words that carry the question, longest first."""
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?", question)
    kept = dict.fromkeys(w for w in words if w.lower() not in _STOP and len(w) > 1)
    return sorted(kept, key=len, reverse=True)


def find_gold_mail(database: EmailDatabase, scenario: EmailScenario) -> tuple[bool, int]:
    """Whether the gold mail is among the hits, and how many keywords it took."""
    words = content_words(scenario.question)
    day = date.fromisoformat(scenario.query_date) + timedelta(days=1)
    for count in range(len(words), 0, -1):
        hits = database.search(
            scenario.inbox_address, words[:count], sent_before=day.isoformat(), limit=_HITS
        )
        if hits:
            return scenario.message_ids[0] in {hit.message_id for hit in hits}, count
    return False, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maildir", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, tally = Path(folder) / "mails.db", Tally()
        report = build_database(
            path,
            MaildirSource(arguments.maildir).emails(tally),
            skipped=tally.skipped,
            notes=tally.notes,
        )
        database = EmailDatabase(path)
        scenarios = read_scenarios(arguments.questions)
        results = [find_gold_mail(database, scenario) for scenario in scenarios]
        known = {mail.message_id for mail in database.emails()}
        database.close()
    answerable = sum(s.message_ids[0] in known for s in scenarios)
    hits = sum(good for good, _ in results)
    print(f"mails       {report.total:,} read, {report.stored:,} stored")
    for reason, count in report.skipped.items():
        print(f"              {count:,} {reason}")
    print(f"questions   {len(scenarios)}, gold mail in the database for {answerable}")
    print(
        f"found       {hits} of {len(scenarios)} ({hits / len(scenarios):.1%}) in the first {_HITS}"
    )
    line = {"mails": report.total, "stored": report.stored, "skipped": report.skipped}
    print(json.dumps(line | {"questions": len(scenarios), "answerable": answerable, "found": hits}))


if __name__ == "__main__":
    main()
