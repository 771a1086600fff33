"""A training run in its folder: its files, its budget, its signals."""
