"""Imports point one way, and only what talks to a person prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from environment.registry import names

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "agent",
    "backends",
    "deployment",
    "environment",
    "pipelines",
    "service",
    "steps",
    "training",
    "web",
)
OURS = {*PACKAGES, "benchmarks", "examples", "models", "run", "tests"}
FORBIDDEN = {
    "environment": OURS - {"environment"},
    "backends": OURS - {"backends", "environment"},
    "agent": OURS - {"agent", "environment"},
    "training": OURS - {"training", "agent", "backends", "environment"},
    "web": OURS - {"web"},
    "deployment": OURS - {"deployment", "web", "training", "agent", "backends", "environment"},
    "service": OURS - {"service", "web", "training", "agent", "backends", "environment"},
    "steps": OURS - {"steps", "deployment", "web", "training", "agent", "backends", "environment"},
    "pipelines": OURS - {*PACKAGES} | {"service"},
}
MAY_PRINT = {"run.py", "benchmarks", "examples", "tests"}
HIDDEN_OR_MADE = {"runs", "build", "dist"}


def sources() -> list[Path]:
    """Every Python file of the project, relative to its root."""
    files = (file.relative_to(ROOT) for file in ROOT.rglob("*.py"))
    return sorted(
        file
        for file in files
        if file.parts[0] not in HIDDEN_OR_MADE and not any(p.startswith(".") for p in file.parts)
    )


def imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """The modules that a file imports, wherever in it, with a relative import made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            levels = package.split(".")
            above = levels[: len(levels) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(file: Path) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return set(imports(tree, ".".join(file.parent.parts)))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    files = [file for file in sources() if file.parts[0] == package]
    assert files
    wrong = [
        f"{file} imports {name}"
        for file in files
        for name in imports_of(file)
        if name.partition(".")[0] in FORBIDDEN[package]
    ]
    assert not wrong


def test_backends_know_of_environments_only_the_contract() -> None:
    allowed = {"environment", "environment.base"}
    wrong = [
        f"{file} imports {name}"
        for file in sources()
        if file.parts[0] == "backends"
        for name in imports_of(file)
        if name.partition(".")[0] == "environment"
        and name not in allowed
        and not name.startswith("environment.base.")
    ]
    assert not wrong


def test_the_training_service_needs_no_zenml() -> None:
    assert not [
        file
        for file in sources()
        if file.parts[0] in {"service", "training", "agent", "backends", "deployment", "web"}
        for name in imports_of(file)
        if name.partition(".")[0] == "zenml"
    ]


def test_nothing_that_ships_imports_what_does_not() -> None:
    wrong = [
        f"{file} imports {name}"
        for file in sources()
        if file.parts[0] not in MAY_PRINT
        for name in imports_of(file)
        if name.partition(".")[0] in {"tests", "benchmarks", "examples"}
    ]
    assert not wrong


def test_examples_are_clients_of_the_service() -> None:
    """Of us they know what any program could: the client, its forms, the policies that we ship. The
    models that they play without a key are like those of the tests."""
    allowed = (
        "examples.",
        "models.",
        "service.client.",
        "service.schemas.",
        "service.hosted_schemas.",
        "service.states.",
        "tests.fakes.",
    )
    files = [file for file in sources() if file.parts[0] == "examples"]
    assert files
    wrong = [
        f"{file} imports {name}"
        for file in files
        for name in imports_of(file)
        if name.partition(".")[0] in OURS and not f"{name}.".startswith(allowed)
    ]
    assert not wrong


@pytest.mark.parametrize("file", [f for f in sources() if f.parts[0] not in MAY_PRINT], ids=str)
def test_only_what_talks_to_a_person_prints(file: Path) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    calls = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not calls


@pytest.mark.parametrize(
    ("code", "imported"),
    [
        ("import steps.data", {"steps.data"}),
        ("def f():\n  from training import loop", {"training", "training.loop"}),
        ("from ..base import X", {"pkg.base", "pkg.base.X"}),
        ("from . import y", {"pkg.sub", "pkg.sub.y"}),
        ("if True:\n  import agent as a", {"agent"}),
    ],
)
def test_imports_are_found_wherever_they_stand(code: str, imported: set[str]) -> None:
    assert set(imports(ast.parse(code), "pkg.sub")) == imported


# These know environments by name: the flavors of sandboxes that users have registered in ZenML by
# their import paths.
MAY_NAME_ENVIRONMENTS = "steps/sandboxes"


@pytest.mark.parametrize("name", names())
def test_no_environment_is_named_outside_its_folder(name: str) -> None:
    named = re.compile(rf"\b{name}\b" if "_" in name else rf"environment\.{name}\b")
    wrong = [
        f"{file}:{number}: {line.strip()}"
        for file in sources()
        if file.parts[0] in {*PACKAGES, "run.py"} - {"environment"}
        and not str(file).startswith(MAY_NAME_ENVIRONMENTS)
        for number, line in enumerate((ROOT / file).read_text("utf-8").splitlines(), 1)
        if named.search(line)
    ]
    assert not wrong
