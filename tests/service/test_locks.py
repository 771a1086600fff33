"""A lock says who lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.locks import LockHeld, holder, holding

from .actor import acting
from .conftest import until


def test_a_lock_is_held_by_one_and_names_it(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    assert holder(lock) is None
    with acting(lock) as process:
        assert holder(lock) == process.pid
        with pytest.raises(LockHeld), holding(lock):
            raise AssertionError("two hold it")
    with holding(lock):
        pass
    assert holder(lock) is None


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with acting(lock) as process:
        process.kill()
        until(lambda: holder(lock) is None)
        with holding(lock):
            pass
