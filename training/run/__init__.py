"""One training run in its folder: what it keeps, what it spends, and how it ends."""
