"""What runs inside: a zygote forks one cell per program, and a cell locks itself down.

Only the standard library is imported here, and nothing of ours but this folder: the zygote is an
interpreter of its own, started without site-packages.
"""
