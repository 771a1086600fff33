"""Where settings come from, and which the service refuses to run with."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import CONFIG, ROOT, ConfigError, load_settings
from service.supervisor import worker_environ

TOKEN = "correct-horse-battery"
NAMES = ("ART_BACKEND", "ART_PATH", "HOST", "PORT", "LOG_LEVEL", "ART_SERVICE_TOKEN")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "OPENAI_API_KEY", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "")  # so that what a test adds is taken away again


def test_the_configuration_that_ships_is_the_asked_system_on_this_machine() -> None:
    settings = load_settings(CONFIG)
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.backend.kind == "local"
    assert settings.data.name == ".art"


def test_the_environment_stands_over_env_file_and_both_over_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("ART_BACKEND=embedded\nPORT=9001\nOPENAI_API_KEY=from-file\nHOST=\n")
    monkeypatch.setenv("PORT", "9002")
    monkeypatch.setenv("ART_PATH", str(tmp_path / "art"))
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    settings = load_settings(CONFIG, dotenv)
    assert (settings.backend.kind, settings.port, settings.log_level) == ("embedded", 9002, "debug")
    assert settings.backend.lora.rank == 8  # the rest of the section stays
    assert settings.data == tmp_path / "art"
    assert settings.host == "127.0.0.1"


def test_every_variable_of_the_example_is_one_that_is_read() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert named == {*NAMES, "OPENAI_API_KEY", "WANDB_API_KEY"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_other_machines_need_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", host)
    with pytest.raises(ConfigError, match="ART_SERVICE_TOKEN"):
        load_settings(CONFIG)
    monkeypatch.setenv("ART_SERVICE_TOKEN", "short")
    with pytest.raises(ConfigError, match="shorter than 16"):
        load_settings(CONFIG)
    monkeypatch.setenv("ART_SERVICE_TOKEN", TOKEN)
    settings = load_settings(CONFIG)
    assert settings.host == host
    assert TOKEN not in f"{settings!r} {settings.model_dump_json()}"


def test_a_token_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"token: [{TOKEN}]")
    with pytest.raises(ConfigError, match="token") as refused:
        load_settings(file)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1", "unknown key prot: did you mean port?"),
        ("port: many", "port"),
        ("- 1", "must hold sections"),
        ("a: [", "is not YAML"),
        ("backend: {kind: skypilot}", "backend.kind"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(file)


def test_skypilot_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_BACKEND", "skypilot")
    with pytest.raises(ConfigError, match="ART_BACKEND=local on the machine"):
        load_settings(CONFIG)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml"):
        load_settings(tmp_path / "none.yaml")


def test_workers_get_neither_the_token_nor_empty_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"ART_SERVICE_TOKEN": TOKEN, "WANDB_API_KEY": "", "CUDA_VISIBLE_DEVICES": ""}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    environ = worker_environ("debug")
    assert not {"ART_SERVICE_TOKEN", "WANDB_API_KEY"} & environ.keys()
    assert (environ["CUDA_VISIBLE_DEVICES"], environ["LOG_LEVEL"]) == ("", "debug")
