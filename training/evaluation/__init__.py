"""Policies on the same held-out scenarios, what their differences mean, and promotion."""
