"""Each private thing that we hold of ART is still there."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_asyncio_is_left_as_it_is() -> None:
    """In a new Python: other tests may have imported ART in another order."""
    code = (
        "import asyncio; task, run = asyncio.Task, asyncio.run\n"
        "import backends.embedded.backend\n"
        "assert asyncio.Task is task and asyncio.run is run, 'nest_asyncio was applied'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_mp_actors_applies_nest_asyncio_by_its_module() -> None:
    import mp_actors.move

    assert mp_actors.move.nest_asyncio.apply.__module__ == "backends.art_compat"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("_get_service", ["self", "model"]),
        ("_train_model", ["self", "model", "trajectory_groups", "config", "dev_config", "verbose"]),
        ("_get_step", ["self", "model"]),
        ("_delete_checkpoint_files", ["self", "model", "steps_to_keep"]),
    ],
)
def test_the_local_backend_is_driven_through(name: str, wanted: list[str]) -> None:
    from art.local.backend import LocalBackend

    import backends.art_compat  # noqa: F401

    assert parameters(getattr(LocalBackend, name)) == wanted


@pytest.mark.parametrize(
    "name", ["_get_step", "_experimental_pull_model_checkpoint", "_delete_checkpoint_files"]
)
def test_the_serverless_backend_has(name: str) -> None:
    from art import ServerlessBackend

    import backends.art_compat  # noqa: F401

    assert inspect.iscoroutinefunction(getattr(ServerlessBackend, name))


def test_the_local_backend_keeps_its_services_by_name() -> None:
    from art.local.backend import LocalBackend

    import backends.art_compat  # noqa: F401

    assert "self._services" in inspect.getsource(LocalBackend.__init__)
    assert "self._path" in inspect.getsource(LocalBackend.__init__)


def test_a_trainable_model_has_an_internal_config() -> None:
    from art import TrainableModel

    from backends.art_compat import internal_config

    model = TrainableModel(
        name="m", project="p", base_model="b", _internal_config={"peft_args": {"r": 3}}
    )
    assert internal_config(model) == {"peft_args": {"r": 3}}
    assert internal_config(TrainableModel(name="m", project="p", base_model="b")) == {}
