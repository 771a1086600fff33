"""A trained adapter, served for people's questions by a process of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch

from backends import BackendError, Endpoint
from backends.config import BackendConfig
from backends.embedded.model_service import EmbeddedService
from backends.embedded.policy import Policy
from backends.policy_server import ServedPolicy, _ThroughArt, serve_adapter
from tests.backends.pocket import config, logprobs_of, shake

ROOT = Path(__file__).parents[2]
MESSAGES = [{"role": "user", "content": "What is the pager number of Bob Miller?"}]
PATIENCE_S = 60.0
# A process that is killed must not find out how its child fares.
PARENT = """
import sys
from pathlib import Path
from backends.config import BackendConfig
from backends.policy_server import serve_adapter
config = BackendConfig.model_validate_json(sys.argv[1])
served = serve_adapter(config, Path(sys.argv[2]), Path(sys.argv[3]))
print(served.endpoint.base_url, served.endpoint.api_key, served.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Policy]:
    """A policy whose adapter has some effect."""
    service = EmbeddedService("pocket", config(), tmp_path_factory.mktemp("trained"), 0)
    shake(service.engine.policy)
    yield service.engine.policy
    service.close()


@pytest.fixture(scope="module")
def adapter(trained: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    trained.trained.save_pretrained(str(folder))
    return folder


Served = tuple[ServedPolicy, psutil.Process]


def started(adapter: Path, workspace: Path) -> Served:
    """What serves the adapter, and its process."""
    before = children()
    served = serve_adapter(config(), adapter, workspace)
    (child,) = children() - before
    return served, child


@pytest.fixture(scope="module")
def shared(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served, child = started(adapter, tmp_path_factory.mktemp("shared"))
    yield served, child
    served.close()


@pytest.fixture(scope="module")
def ended(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """One that was closed."""
    served, child = started(adapter, tmp_path_factory.mktemp("ended"))
    served.close()
    return served, child


def children(of: int | None = None) -> set[psutil.Process]:
    return {
        child
        for child in psutil.Process(of).children()
        if child.status() != psutil.STATUS_ZOMBIE and "backends.embedded.serve" in child.cmdline()
    }


def ask(endpoint: Endpoint, name: str, key: str | None = None, **options: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {endpoint.api_key if key is None else key}"}
    body = {"model": name, "messages": MESSAGES, "max_tokens": 8, "temperature": 0} | options
    url = f"{endpoint.base_url}/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S, trust_env=False)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def gone(child: psutil.Process) -> bool:
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_it_answers_with_the_weights_of_the_adapter(shared: Served, trained: Policy) -> None:
    served, _ = shared
    reply = ask(served.endpoint, served.name, logprobs=True, return_token_ids=True).json()
    choice = reply["choices"][0]
    ids = reply["prompt_token_ids"] + choice["token_ids"]
    logprobs = torch.tensor([entry["logprob"] for entry in choice["logprobs"]["content"]])
    expected = logprobs_of(trained.trained, ids)[-len(logprobs) :]
    with trained.trained.disable_adapter():
        untrained = logprobs_of(trained.trained, ids)[-len(logprobs) :]
    assert torch.allclose(logprobs, expected, atol=1e-3)
    assert (logprobs - untrained).abs().max() > 1e-2


def test_it_has_one_name(shared: Served) -> None:
    served, _ = shared
    assert ask(served.endpoint, served.name).json()["model"] == served.name
    assert ask(served.endpoint, "somebody").status_code == 404


def test_it_answers_to_its_key_only(shared: Served) -> None:
    served, _ = shared
    key = served.endpoint.api_key
    assert len(key) >= 32
    for wrong in ("x", "none", "default", key[:-1], key.swapcase()):
        assert ask(served.endpoint, served.name, wrong).status_code == 401
    assert ask(served.endpoint, served.name).status_code == 200


def test_its_key_cannot_be_read_off_its_process(shared: Served) -> None:
    served, child = shared
    assert served.endpoint.api_key not in " ".join(child.cmdline())
    assert served.endpoint.api_key not in str(child.environ())


def test_only_this_machine_reaches_it(shared: Served) -> None:
    served, child = shared
    assert served.endpoint.base_url.startswith("http://127.0.0.1:")
    listening = [c for c in child.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    assert len(listening) == 1


def test_it_is_alive_while_it_serves(shared: Served) -> None:
    served, child = shared
    assert served.alive
    assert not gone(child)


def test_questions_at_once_are_all_answered(shared: Served) -> None:
    served, _ = shared
    replies: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: replies.append(ask(served.endpoint, served.name)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    said = [reply.json()["choices"][0]["message"] for reply in replies]
    assert len(said) == 6
    assert all(message == said[0] for message in said)


def test_a_ctrl_c_is_left_to_its_parent(shared: Served) -> None:
    served, child = shared
    assert ask(served.endpoint, served.name).status_code == 200
    child.send_signal(signal.SIGINT)
    with pytest.raises(psutil.TimeoutExpired):
        child.wait(1)
    assert served.alive
    assert ask(served.endpoint, served.name).status_code == 200


def test_closed_its_process_has_ended(ended: Served) -> None:
    served, child = ended
    assert not child.is_running()
    assert not served.alive
    with pytest.raises(httpx.ConnectError):
        ask(served.endpoint, served.name)


def test_it_can_be_closed_twice(ended: Served) -> None:
    ended[0].close()


def test_killed_it_is_not_alive_and_can_still_be_closed(adapter: Path, tmp_path: Path) -> None:
    served, child = started(adapter, tmp_path)
    child.kill()
    until(lambda: not served.alive)
    with pytest.raises(httpx.TransportError):
        ask(served.endpoint, served.name)
    served.close()
    assert not child.is_running()


def test_a_parent_that_is_killed_leaves_no_child_behind(adapter: Path, tmp_path: Path) -> None:
    settings = config().model_dump_json()
    command = [sys.executable, "-c", PARENT, settings, str(adapter), str(tmp_path / "work")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        url, key, name = parent.stdout.readline().split()
        (child,) = children(parent.pid)
        assert ask(Endpoint(url, key), name).status_code == 200
        parent.kill()
        parent.wait(PATIENCE_S)
        until(lambda: gone(child))


# What cannot be served


def cut_short(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:1_000])


@pytest.mark.parametrize(
    ("changes", "harm", "text"),
    [
        ({"base_model": "/no/such/folder"}, None, "/no/such/folder: there is no such folder"),
        ({}, cut_short, "the adapter in .* does not fit .*pocket"),
    ],
    ids=["no base model", "broken adapter"],
)
def test_what_cannot_be_served_is_said_and_leaves_no_process(
    adapter: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    harm: Callable[[Path], None] | None,
    text: str,
) -> None:
    before = children()
    mine = shutil.copytree(adapter, tmp_path / "adapter")
    if harm:
        harm(mine)
    with pytest.raises(BackendError, match=f"the policy could not be served: .*{text}"):
        serve_adapter(config(**changes), mine, tmp_path / "work")
    assert children() == before


@pytest.fixture
def speechless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of Python something that ends at once without a word."""
    file = tmp_path / "python"
    file.write_text("#!/bin/sh\nexit 3\n")
    file.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(file))


@pytest.mark.usefixtures("speechless")
@pytest.mark.parametrize(
    "base_model",
    [
        "short",
        # More than a pipe holds, so that its writer is still at it when the reader has gone.
        pytest.param("long" * 100_000, id="long"),
    ],
)
def test_a_process_that_dies_without_a_word_is_an_error(
    adapter: Path, tmp_path: Path, base_model: str
) -> None:
    with pytest.raises(BackendError, match="could not be served: its log says why"):
        serve_adapter(config(base_model=base_model), adapter, tmp_path / "work")


@pytest.mark.parametrize(
    ("kind", "key"), [("serverless", "WANDB_API_KEY"), ("tinker", "TINKER_API_KEY")]
)
def test_what_another_backend_lacks_is_said_before_anything_is_written(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, key: str
) -> None:
    monkeypatch.delenv(key, raising=False)
    with pytest.raises(BackendError, match=key):
        serve_adapter(BackendConfig(kind=kind), adapter, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_vendor_that_cannot_serve_an_adapter_is_told(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "set")
    with pytest.raises(BackendError, match="serverless cannot serve an adapter from a file"):
        serve_adapter(BackendConfig(kind="serverless"), adapter, tmp_path / "work")
    assert not (tmp_path / "work").exists()


# Through ART, on the one backend of its that runs here


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "policy"]


def test_arts_server_serves_the_adapter_until_it_is_closed(adapter: Path, tmp_path: Path) -> None:
    served = _ThroughArt(config(), adapter, tmp_path)
    assert served.alive
    assert served.name == "agent@1"
    assert ask(served.endpoint, served.name).json()["model"] == served.name
    assert len(loops()) == 1
    served.close()
    assert loops() == []
    with pytest.raises(httpx.ConnectError):
        ask(served.endpoint, served.name)


def test_what_art_cannot_serve_leaves_no_loop_behind(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no such folder"):
        _ThroughArt(config(base_model="/no/such/folder"), adapter, tmp_path)
    assert loops() == []


def test_a_workspace_that_is_taken_is_not_written_over(adapter: Path, tmp_path: Path) -> None:
    taken = tmp_path / "serving" / "models" / "agent" / "checkpoints" / "0001"
    taken.mkdir(parents=True)
    with pytest.raises(FileExistsError):
        serve_adapter(config(), adapter, tmp_path)
    assert list(taken.iterdir()) == []
