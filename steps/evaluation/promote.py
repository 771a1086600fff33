"""Promote the evaluated model version, or log why not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

from zenml import get_step_context, log_metadata, step

from steps.model_versions import PRODUCTION

log = logging.getLogger(__name__)


@step(enable_cache=False)
def promote(decision: dict[str, Any]) -> Annotated[bool, "promoted"]:
    """Whether the version was promoted. ZenML archives the one that it replaces."""
    log.info(decision["reason"])
    if decision["promote"]:
        get_step_context().model.set_stage(PRODUCTION, force=True)
        log_metadata({"promoted_at": datetime.now(UTC).isoformat()}, infer_model=True)
    return bool(decision["promote"])
