"""Hosted language models, for judges, writers and evaluated agents."""
