"""The zygote's entry point: import modules, drop privileges, serve."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import warnings

from . import folders, lockdown
from .zygote import Zygote

_PRELOADED = (
    "abc argparse ast base64 bisect calendar cmath collections.abc contextlib copy csv ctypes "
    "dataclasses datetime decimal difflib enum fractions functools hashlib heapq io itertools json "
    "linecache locale math numbers operator pickle pprint queue random re secrets statistics string "
    "struct tempfile textwrap time traceback types typing unicodedata uuid zlib"
)


def preload() -> None:
    """Import commonly used modules and every extension module of the standard library.

    Some extension modules need system libraries, which no cell may open.
    """
    names = _PRELOADED.split()
    for folder in sys.path:
        if folder.endswith("lib-dynload"):
            names += (name.partition(".")[0] for name in sorted(os.listdir(folder)))
    skipped = ("_test", "_xx", "xx", "_ctypes_test", "_tkinter", "readline")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated modules
        for name in names:
            if not name.startswith(skipped):
                with contextlib.suppress(ImportError):  # a system library is missing
                    importlib.import_module(name)


def main() -> None:
    """Command-line arguments: this package's path, the descriptor of the socket to the sandbox, and
    JSON settings (``folder``, the parent of temporary folders, and the fields of ``Bounds``)."""
    package, control, settings = sys.argv[1:]
    sys.path.remove(package)
    connection = socket.socket(fileno=int(control))
    limits = json.loads(settings)
    parent = limits.pop("folder")
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload()
    os.environ.clear()
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # three descriptors per cell
    interpreter = lockdown.address_space()
    home = None
    try:
        try:
            lockdown.go_first()
            lockdown.drop_root()
            home = folders.make(parent)
            lockdown.confine_zygote(home.path)
        except OSError as error:
            connection.send(json.dumps({"event": "unavailable", "text": str(error)}).encode())
            return
        gc.collect()
        gc.freeze()
        connection.send(json.dumps({"event": "hello", "folder": home.path}).encode())
        zygote = Zygote(connection, home.path, lockdown.Bounds(interpreter=interpreter, **limits))
        try:
            zygote.serve()
        finally:
            zygote.close()
    finally:
        if home is not None:
            home.remove()
