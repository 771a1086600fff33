from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.embedded.policy import Policy
from tests.backends.pocket import config

NewPolicy = Callable[..., Policy]


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The untrained policy. Tests only look at it; one that changes it takes ``new_policy``."""
    return Policy(config(), tmp_path_factory.mktemp("policy"))


@pytest.fixture
def new_policy(tmp_path: Path) -> NewPolicy:
    def new_policy(seed: int = 0, **changes: Any) -> Policy:
        return Policy(config(**changes), tmp_path / "model", seed)

    return new_policy
