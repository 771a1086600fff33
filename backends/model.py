"""ART's model without its own Weights & Biases run."""

from __future__ import annotations

from typing import Any

import art


class Model(art.TrainableModel[Any, Any]):
    """``training.tracking`` writes to W&B. With WANDB_API_KEY set, ART would open a second run with
    the same id, which W&B rejects ("run ID is in use"), ending the training."""

    def _get_wandb_run(self) -> None:
        return None
