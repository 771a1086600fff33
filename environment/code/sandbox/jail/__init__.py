"""Runs inside the sandbox: a zygote forks one cell per program, and each cell locks itself down.

This package imports nothing but itself and the standard library: the zygote is a separate
interpreter, started without site-packages.
"""
