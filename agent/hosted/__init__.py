"""Hosted language models, called through one stack: retries, prices, budgets, redaction."""
