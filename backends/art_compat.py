"""Every use of undocumented parts of openpipe-art 0.5.18, in one place.

Import it before anything of ART. ``tests/backends/test_art_compat.py`` has a test for each part, which
fails by name if an upgrade moves it.
"""

from __future__ import annotations

import os
from typing import Any

import nest_asyncio

# Read while ART is imported, which would otherwise download a price list.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def _leave_asyncio_alone(loop: Any = None) -> None:
    """``mp_actors``, imported with ART's local backend, replaces ``asyncio.run`` and asyncio's tasks
    process-wide by slower ones, and on Python 3.12 by a ``run`` that uvicorn cannot call. Nothing in
    this process nests loops; ART's GPU trainer does, in a separate process."""


nest_asyncio.apply = _leave_asyncio_alone


async def newest_step(backend: Any, model: Any) -> int:
    """The backend's own step number of the newest checkpoint."""
    return int(await backend._get_step(model))


async def pull_checkpoint(backend: Any, model: Any, step: int, folder: str) -> None:
    """Download a checkpoint from W&B."""
    await backend._experimental_pull_model_checkpoint(model, step=step, local_path=folder)


async def delete_checkpoints(backend: Any, model: Any, keep: list[int]) -> None:
    """Delete the model's checkpoints at the backend, except those of ``keep``."""
    await backend._delete_checkpoint_files(model, keep)


def internal_config(model: Any) -> dict[str, Any]:
    """A model's settings for Unsloth and vLLM."""
    return dict(model._internal_config or {})
