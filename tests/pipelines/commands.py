"""``python run.py`` in a forked process: the same ``main``, without the imports' time."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from zenml.utils import source_utils

ROOT = Path(__file__).parents[2]
# Steps note where their code lies when they are imported, and the main module is not run.py here.
source_utils.set_custom_source_root(str(ROOT))
for _name in (
    "launch",
    "preflight",
    "data",
    "training",
    "evaluation",
    "deploy",
):
    importlib.import_module(f"pipelines.{_name}")


def call_main(
    folder: Path,
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    out: Path,
    err: Path,
) -> None:
    """
    Args:
        folder: where ``runs/``, ``configs/`` and ``models/`` are.
    """
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    import run

    os.environ.clear()
    os.environ.update(environment)
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    os.chdir(cwd)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    run.ROOT = folder
    sys.argv = ["run.py", *arguments]
    sys.exit(run.main())
