"""Emails passed between data pipeline steps, as one Parquet file that is streamed in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from environment.email_search.models import Email

_BATCH = 5_000
_NAMES = [field.name for field in fields(Email)]
_LISTS = ("to", "cc", "bcc")
_SCHEMA = pa.schema(
    [(name, pa.list_(pa.string()) if name in _LISTS else pa.large_string()) for name in _NAMES]
)


def write_mails(path: Path, mails: Iterable[Email]) -> int:
    """Write all emails and return their number."""
    count = 0
    stream = iter(mails)
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        while batch := list(islice(stream, _BATCH)):
            columns = {name: [getattr(mail, name) for mail in batch] for name in _NAMES}
            writer.write_table(pa.Table.from_pydict(columns, _SCHEMA))
            count += len(batch)
    return count


def read_mails(path: Path) -> Iterator[Email]:
    for batch in pq.ParquetFile(path).iter_batches(_BATCH):
        for row in batch.to_pylist():
            yield Email(**row)
