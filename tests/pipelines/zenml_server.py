"""A ZenML server of the tests' own, and the documented commands given against it."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.pipelines.commands import ROOT

PASSWORD = "of-the-tests"


@contextmanager
def zenml_server(home: Path) -> Iterator[str]:
    """Its URL; it may still be starting."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "HOME": str(home),
        "ZENML_CONFIG_PATH": str(home / "zenml"),
        "ZENML_SERVER": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
        "ZENML_SERVER_AUTO_ACTIVATE": "1",
        "ZENML_DEFAULT_USER_NAME": "admin",
        "ZENML_DEFAULT_USER_PASSWORD": PASSWORD,
        "ZENML_SERVER_JWT_SECRET_KEY": "0" * 32,
        "ZENML_STORE_BACKUP_STRATEGY": "disabled",
    }
    command = [sys.executable, "-m", "uvicorn", "zenml.zen_server.zen_server_api:app"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | environment,
            cwd=home,
            stdout=log,
            stderr=log,
        )
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def login(url: str) -> dict[str, str]:
    """The variables with which a client uses it."""
    return {
        "ZENML_STORE_URL": url,
        "ZENML_STORE_USERNAME": "admin",
        "ZENML_STORE_PASSWORD": PASSWORD,
    }


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"nothing answers at {url}")


def enter(home: Path, environment: dict[str, str]) -> None:
    """Make this forked process a user's who has these variables."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    for number in (1, 2):
        os.dup2(os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(environment)
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    os.chdir(ROOT)


def printed(page: str, section: str, language: str) -> list[str]:
    """The code blocks in a section of a page of the documentation."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", page, re.DOTALL | re.MULTILINE)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def register(page: str, section: str) -> None:
    """Give those commands of a section that register something."""
    from click.testing import CliRunner
    from zenml.cli.cli import cli

    for block in printed(page, section, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"zenml (\S+ register|secret create) ", line):
                result = CliRunner().invoke(cli, shlex.split(os.path.expandvars(line))[1:])
                assert result.exit_code == 0, (line, result.output, result.exception)
