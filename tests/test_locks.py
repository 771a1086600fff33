"""The locks are complete, exact and free of this or any machine. Whether a resolver still finds them
consistent is asked by ``make check-locks``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.txt", "requirements-gpu.txt", "requirements-tinker.txt")
PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==([^ ;]+)( ;[^#]*)?( +# via .+)?")


def pins(name: str) -> dict[str, str]:
    matches = [PIN.fullmatch(line) for line in (ROOT / name).read_text().splitlines()]
    return {match[1]: match[2] for match in matches if match}


def wanted(name: str) -> set[str]:
    """The packages that a *.in file names, and those of the files it includes."""
    names: set[str] = set()
    for line in (ROOT / name).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            names |= wanted(text.removeprefix("-r "))
        elif text and not text.startswith("-"):
            names.add(re.split(r"[\[<>=]", text)[0].strip().lower())
    return names


@pytest.mark.parametrize("name", [*LOCKS, "requirements-dev.txt"])
def test_every_line_of_a_lock_is_an_exact_pin(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line]
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    assert "://" not in "".join(lines)
    assert "--hash" not in "".join(lines)


@pytest.mark.parametrize("name", [*LOCKS, "requirements-dev.txt"])
def test_a_lock_has_everything_its_source_names(name: str) -> None:
    assert wanted(name.replace(".txt", ".in")) <= pins(name).keys()


@pytest.mark.parametrize("name", LOCKS)
def test_every_lock_has_the_versions_that_the_code_is_written_against(name: str) -> None:
    versions = pins(name)
    assert versions["zenml"] == "0.98.0"
    assert versions["openpipe-art"] == "0.5.18"
    assert versions["transformers"] == "5.2.0"
    assert versions["openai"].startswith("2.")


def test_the_cpu_needs_no_package_for_a_gpu_or_a_vendor() -> None:
    versions = pins("requirements.txt")
    assert not [name for name in versions if name.startswith(("nvidia-", "unsloth", "tinker"))]
    assert versions["torch"] == "2.13.0"


def test_tinker_is_the_cpus_lock_and_its_client() -> None:
    ours, tinker = pins("requirements.txt"), pins("requirements-tinker.txt")
    assert ours.items() <= tinker.items()
    assert tinker.keys() - ours.keys() == {"tinker", "h2", "hpack", "hyperframe"}
