"""Datasets from the Hugging Face Hub, or local copies of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class HubError(RuntimeError):
    """A dataset cannot be loaded; the message says which, and why."""


def load_rows(
    dataset: str,
    split: str,
    revision: str | None,
    columns: frozenset[str],
    config: str | None = None,
) -> Iterator[Mapping[str, Any]]:
    """The rows of a dataset, after checking that it has these columns.

    Raises:
        HubError: the dataset cannot be loaded, or lacks a column.
    """
    # The import takes a second, and few sources need it.
    import httpx
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    failures = (DatasetsError, httpx.HTTPError, IndexError, OSError, ValueError)
    try:
        rows = load_dataset(dataset, config, split=split, revision=revision)
    except failures as error:
        raise HubError(f"cannot load the dataset {dataset} (split {split}): {error}") from error
    missing = columns - set(rows.column_names)
    if missing:
        raise HubError(f"{dataset} has no column {', '.join(sorted(missing))}")
    return iter(rows)
