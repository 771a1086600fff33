"""Evaluation of policies on held-out scenarios, statistics of their differences, and promotion."""
