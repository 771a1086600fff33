"""Load the record of a trained adapter and check that it fits the configured base model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from zenml import step

from backends.config import BackendConfig
from backends.errors import BackendError
from training.run.store import PolicyRecord, base_fingerprint, read_policy_record


@step(enable_cache=False)
def load_trained_model(
    adapter: Path, backend: BackendConfig
) -> Annotated[dict[str, Any], "trained_model"]:
    """The adapter's ``PolicyRecord``.

    Raises:
        BackendError: the adapter was trained on another base model.
    """
    return check_adapter(adapter, backend).model_dump()


def check_adapter(adapter: Path, backend: BackendConfig) -> PolicyRecord:
    """
    Raises:
        BackendError: the adapter was trained on another base model.
    """
    record = read_policy_record(adapter)
    here = base_fingerprint(backend.base_model)
    if record.base_model != backend.base_model or record.base_fingerprint != here:
        raise BackendError(
            f"the adapter was trained on {record.base_model} ({record.base_fingerprint or 'hub'}), "
            f"this configuration has {backend.base_model} ({here or 'hub'}): evaluate it with the "
            "configuration it was trained with"
        )
    return record
