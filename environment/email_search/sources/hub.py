"""The Enron emails and questions, from the Hugging Face Hub or a local copy.

Schema of ``corbt/enron-emails``: message_id, subject, from, to, cc, bcc, date, body, file_name.
Schema of ``corbt/enron_emails_sample_questions``: the fields of ``EmailScenario``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from environment.base import Split
from environment.email_search.models import Email
from environment.email_search.sources import SourceError, Tally
from environment.hub import HubError, load_rows

_MAIL_COLUMNS = frozenset("message_id subject from to cc bcc date body file_name".split())


def _rows(
    dataset: str, split: str, revision: str | None, columns: frozenset[str]
) -> Iterator[Mapping[str, Any]]:
    try:
        return load_rows(dataset, split, revision, columns)
    except HubError as error:
        raise SourceError(
            f"{error}. Without network access, set data.dataset to a local copy or use "
            "data.source: sample"
        ) from error


class HubSource:
    """``corbt/enron-emails``, about 517,000 emails."""

    def __init__(self, dataset: str, revision: str | None = None) -> None:
        self.dataset, self.revision = dataset, revision

    def emails(self, tally: Tally) -> Iterator[Email]:
        for row in _rows(self.dataset, "train", self.revision, _MAIL_COLUMNS):
            message_id, date = row["message_id"], row["date"]
            if not message_id:
                tally.skipped["no_message_id"] += 1
                continue
            usable = date is not None and 1970 <= date.year <= 2100
            if not usable:
                tally.notes["no_usable_date"] += 1
            yield Email(
                message_id=message_id,
                date=f"{date:%Y-%m-%d %H:%M:%S}" if usable else "",
                subject=row["subject"] or "",
                sender=row["from"] or "",
                to=[address for address in row["to"] or () if address],
                cc=[address for address in row["cc"] or () if address],
                bcc=[address for address in row["bcc"] or () if address],
                body=(row["body"] or "").replace("\0", ""),
                file_name=row["file_name"] or "",
            )


def question_rows(dataset: str, split: Split, revision: str | None) -> Iterator[Mapping[str, Any]]:
    """Rows of a questions dataset; only their columns are checked."""
    columns = frozenset("id question answer message_ids inbox_address query_date".split())
    return _rows(dataset, split, revision, columns)
