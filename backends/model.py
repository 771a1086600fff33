"""ART's model, without a Weights & Biases run of its own."""

from __future__ import annotations

from typing import Any

import art


class Model(art.TrainableModel[Any, Any]):
    """``training.tracking`` writes to W&B. Where WANDB_API_KEY is set, ART would open a second run
    under the same id, which W&B refuses ("run ID is in use") and which ends the training."""

    def _get_wandb_run(self) -> None:
        return None
