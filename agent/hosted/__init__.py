"""Hosted language models. Judges, writers and evaluated agents all share one ``Connection``."""
