"""The training loop: sample scenarios, roll out groups, score, filter, train."""
