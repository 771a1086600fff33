"""Log completed steps."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from zenml import get_step_context

log = logging.getLogger(__name__)
HOOK = f"{__name__}.step_done"


def step_done() -> None:
    """ZenML's success hook."""
    step = get_step_context().step_run
    started = step.start_time.replace(tzinfo=UTC)
    log.info("  ✓ %s %.1f s", step.name, (datetime.now(UTC) - started).total_seconds())
