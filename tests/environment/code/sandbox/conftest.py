from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from environment.code.sandbox.base import Execution, Limits, Sandbox
from environment.code.sandbox.bubblewrap import BubblewrapSandbox
from environment.code.sandbox.isolated import IsolatedSandbox
from tests.environment.code.sandbox.traces import children, descriptors, processes_naming, until
from tests.environment.code.sandbox.world import World

LIMITS = Limits(
    wall_s=20.0, cpu_s=5, memory_mib=256, output_kib=64, files_mib=4, threads=8, open_files=32
)
Open = Callable[..., IsolatedSandbox]


@pytest.fixture(scope="session")
def shared_world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """A world that the test must leave unharmed."""
    yield shared_world
    assert shared_world.victim_lives


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where sandboxes make their folders; also nobody, whom root becomes, can get there."""
    path = Path(tempfile.mkdtemp(prefix="test-sandbox-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session", params=["isolated", "bubblewrap"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return request.param


@pytest.fixture
async def open_sandbox(folder: Path) -> AsyncIterator[Open]:
    """Opens sandboxes, and asserts in the end that they leave nothing behind."""
    before, opened = (set(descriptors().items()), set(children())), []

    def open_one(
        kind: str = "isolated", limits: Limits = LIMITS, workers: int = 2, **changes: float
    ) -> IsolatedSandbox:
        limits = limits.model_copy(update=changes)
        if kind == "bubblewrap":
            sandbox: IsolatedSandbox = BubblewrapSandbox(limits, workers)
        else:
            sandbox = IsolatedSandbox(limits, workers, folder=str(folder))
        opened.append(sandbox)
        return sandbox

    yield open_one
    for sandbox in opened:
        await sandbox.close()
    # What other tests left may go meanwhile, and a loop that is garbage when it is collected.
    gc.collect()
    until(lambda: not set(descriptors().items()) - before[0])
    until(lambda: not set(children()) - before[1])
    assert not processes_naming(str(folder))
    assert not list(folder.iterdir())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox(kind: str) -> AsyncIterator[Sandbox]:
    """One of each kind for all attacks: each must leave it as good as new."""
    sandbox = BubblewrapSandbox(LIMITS, 2) if kind == "bubblewrap" else IsolatedSandbox(LIMITS, 2)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.fixture
def attack(sandbox: Sandbox, world: World) -> Callable[..., Awaitable[Execution]]:
    """Runs an attack, which prints ESCAPED where it gets through: bare, then in a sandbox."""

    async def run(text: str, *, proof: bool = True) -> Execution:
        text = world.fill_in(text)
        if proof:
            out, err = world.bare(text)
            assert "ESCAPED" in out, f"the attack proves nothing: bare, it fails with {err}"
        execution = await sandbox.run(text, {})
        assert "ESCAPED" not in execution.stdout
        after = await sandbox.run("print(6 * 7)", {})
        assert (after.exit_code, after.stdout) == (0, "42\n")
        return execution

    return run
