"""ZenML's sandbox component in a real ZenML: registered as docs/sandboxes.md says, and used."""

from __future__ import annotations

import platform
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from zenml import pipeline, step
from zenml.client import Client
from zenml.sandboxes import SandboxExecError

from environment.code.sandbox.base import SandboxUnavailable
from environment.code.sandbox.bubblewrap import BubblewrapSandbox
from environment.code.sandbox.isolated import IsolatedSandbox
from environment.code.sandbox.stack import open_stack_sandbox
from tests.pipelines.sandbox_stacks import LIMITS, own_zenml, register, zenml

__all__ = ["own_zenml"]


@pytest.fixture(scope="module")
def isolated(own_zenml: None) -> None:
    register("isolated, for your own steps")


@pytest.fixture
def component(isolated: None) -> Any:
    Client().activate_stack("code-isolated")
    return Client().active_stack.sandbox


@pytest.fixture
def session(component: Any) -> Iterator[Any]:
    with component.create_session(destroy_on_exit=True) as session:
        yield session


# --- the flavor isolated --------------------------------------------------------------------------


def test_it_runs_code(session: Any) -> None:
    output = session.exec(["python", "-I", "-c", "print(6 * 7)"]).collect()
    assert (output.stdout, output.stderr, output.exit_code) == ("42\n", "", 0)


def test_it_runs_an_uploaded_file_with_arguments_data_and_variables(
    session: Any, tmp_path: Path
) -> None:
    (tmp_path / "solve.py").write_text(
        "from __future__ import annotations\n"
        "import os, sys\n"
        "import helper\n"
        "print(sys.argv, helper.TEXT, open('in/data').read(), os.environ['WHO'], __name__)\n"
    )
    (tmp_path / "helper.py").write_text("TEXT = 'helped'")
    (tmp_path / "data").write_bytes(b"bytes")
    for local, remote in (("solve.py",) * 2, ("helper.py",) * 2, ("data", "in/data")):
        session.upload_file(str(tmp_path / local), remote)
    output = session.exec("python solve.py 'a b'", env={"WHO": "me"}).collect()
    assert output.stdout == "['solve.py', 'a b'] helped bytes me __main__\n", output.stderr


def test_a_command_leaves_nothing_to_the_next(session: Any) -> None:
    session.exec(["python", "-c", "open('left', 'w').close()"]).wait()
    output = session.exec(["python", "-c", "import os; print(os.listdir('.'))"]).collect()
    assert output.stdout == "[]\n"


def test_it_keeps_a_command_in(session: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cr3t")
    output = session.exec(["python", "-c", f"print(open('{tmp_path}/secret').read())"]).collect()
    assert output.exit_code == 1
    assert "PermissionError" in output.stderr


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("raise ValueError('bad')", 1, "ValueError: bad"),
        ("import os; os.abort()", 134, ""),
        ("while True: pass", 124, "killed by the sandbox: timeout"),
        ("while True: print('x' * 1000)", 137, "killed by the sandbox: output"),
    ],
)
def test_how_a_command_ended_is_told(session: Any, program: str, code: int, said: str) -> None:
    output = session.exec(["python", "-c", program]).collect()
    assert output.exit_code == code
    assert said in output.stderr


def test_a_command_can_be_killed(session: Any) -> None:
    process = session.exec(["python", "-c", "import time; time.sleep(60)"])
    with pytest.raises(TimeoutError):
        process.wait(timeout=0.2)
    assert process.exit_code is None
    process.kill()
    assert process.wait() == 137


def test_destroying_a_session_ends_its_commands(component: Any) -> None:
    session = component.create_session()
    process = session.exec(["python", "-c", "import time; time.sleep(60)"])
    session.destroy()
    assert process.wait() == 137
    assert session.closed


@pytest.mark.parametrize(
    "command", ["ls", "sh -c 'echo a'", "python", "python -m http.server", "python -c", ""]
)
def test_what_it_cannot_run_it_refuses(session: Any, command: str) -> None:
    with pytest.raises(SandboxExecError, match="this sandbox runs"):
        session.exec(command)


def test_what_it_cannot_do_it_says(session: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxExecError, match=r"no file 'other\.py' was uploaded"):
        session.exec("python other.py")
    with pytest.raises(SandboxExecError, match="cwd is not supported"):
        session.exec("python -c 1", cwd="/")
    with pytest.raises(ValueError, match="outside the folder"):
        session.upload_file(str(tmp_path / "file"), "../file")
    with pytest.raises(NotImplementedError, match="leave no files"):
        session.download_file("a", "b")


def test_where_the_kernel_offers_too_little_it_refuses(
    component: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "mips")
    threads = threading.active_count()
    with pytest.raises(SandboxUnavailable, match="mips"):
        component.create_session()
    with pytest.raises(SandboxUnavailable, match="mips"):
        open_stack_sandbox(LIMITS, 1)
    assert threading.active_count() == threads


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="the package bubblewrap is not here")
async def test_it_may_be_bubblewrap(isolated: None) -> None:
    zenml("sandbox", "register", "wrapped", "--flavor=isolated", "--kind=bubblewrap")
    zenml(*"stack register wrapped -o default -a default --sandbox=wrapped --set".split())
    with Client().active_stack.sandbox.create_session(destroy_on_exit=True) as session:
        command = ["python", "-c", "import os; print(os.path.exists('/home'))"]
        assert session.exec(command).collect().stdout == "False\n"
    opened = open_stack_sandbox(LIMITS, 1)
    assert isinstance(opened, BubblewrapSandbox)
    await opened.close()


def test_a_step_of_the_user_uses_it(component: Any) -> None:
    run = computes()
    assert run is not None
    assert run.steps["compute"].output.load() == "42\n"
    described = run.steps["compute"].run_metadata
    assert "isolated" in described.values()


@step(enable_cache=False, settings={"sandbox": {"sandbox_environment": {"N": "7"}}})
def compute() -> Annotated[str, "printed"]:
    with Client().active_stack.sandbox.create_session(destroy_on_exit=True) as session:
        program = "import os; print(6 * int(os.environ['N']))"
        return session.exec(["python", "-c", program]).collect().stdout


@pipeline(name="computes", enable_cache=False)
def computes() -> None:
    compute()


async def test_a_stack_with_our_flavor_opens_our_sandbox(component: Any) -> None:
    opened = open_stack_sandbox(LIMITS, 2)
    assert isinstance(opened, IsolatedSandbox)
    assert (await opened.run("print(6 * 7)", {})).stdout == "42\n"
    await opened.close()


# --- the flavor cwsandbox -------------------------------------------------------------------------


@pytest.fixture
def coreweave(own_zenml: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from tests.fakes.coreweave_sandboxes import CoreWeaveSandboxes

    monkeypatch.setenv("CWSANDBOX_API_KEY", "key")
    with CoreWeaveSandboxes() as service:
        monkeypatch.setenv("CWSANDBOX_BASE_URL", service.address)
        if not Client().list_stacks(name="code-coreweave").items:
            register("CoreWeave")
        Client().activate_stack("code-coreweave")
        yield service


def test_a_session_is_a_container_of_coreweave(coreweave: Any, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"\x00text")
    with Client().active_stack.sandbox.create_session(destroy_on_exit=True) as session:
        session.upload_file(str(tmp_path / "here"), "there")
        output = session.exec("sh -c 'cat there; echo $WHO; exit 3'", env={"WHO": "me"}).collect()
        assert (output.stdout, output.exit_code) == ("\x00textme\n", 3)
        session.exec(["sh", "-c", "printf 'a\\nb\\nc' > left"]).wait()
        assert list(session.exec("cat left").stdout()) == ["a\n", "b\n", "c"]
        session.download_file("left", str(tmp_path / "back"))
        assert (tmp_path / "back").read_text() == "a\nb\nc"
    assert not coreweave.containers
    (created,) = coreweave.created
    assert created.network.deny_egress
    assert created.containers[0].resource_requirements.limits.memory == "2048Mi"


async def test_a_stack_with_coreweave_opens_our_sandbox(coreweave: Any) -> None:
    opened = open_stack_sandbox(LIMITS, 1)
    assert (await opened.run("print(6 * 7)", {"problem": "p"})).stdout == "42\n"
    await opened.close()
    assert list(coreweave.created[0].tags) == ["problem=p"]
    assert not coreweave.containers
