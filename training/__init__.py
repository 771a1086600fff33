"""The training loop, the accounting of its trajectories, evaluation and promotion."""

import backends as backends
