"""What an environment's folder offers: its settings, how its data is made, and how it is opened.

The folder's ``__init__`` ends with ``PACKAGE = EnvironmentPackage(...)``. Pipelines, the training
service, reports and the deployment know nothing else of an environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from environment.base import Environment, StrictModel
from environment.deployable import Deployable


class Progress(Protocol):
    """A bar on the screen."""

    def advance(self, shown: dict[str, str], n: int = 1) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage is handed.

    Args:
        out: where its artifact goes: a path in an empty folder, to become a file or a folder.
        ask: opens the hosted model of ``Stage.model``; replies already paid for come from disk.
        progress: ``progress(total, title, unit)`` shows how far a long stage has come.
    """

    out: Path
    ask: Callable[[Any], Any]
    progress: Callable[[int, str, str], Progress]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of making an environment's data: a plain function, cached by all it depends on.

    Args:
        name: of the step.
        artifact: what it makes, the name that later stages and ``EnvironmentPackage.open`` know.
        make: ``make(work, settings, **needs)``, a module's own function; returns facts worth
            keeping with the artifact, as JSON.
        settings: those it depends on, and no others: a change of these runs it again.
        needs: artifacts of earlier stages, passed to ``make`` as paths by name.
        file: the artifact's file name.
        fingerprint: a digest of files outside that it reads, computed when it is about to run.
        code: modules beside that of ``make`` whose change runs it again.
        sandboxed: whether it runs programs, which takes ``EnvironmentPackage.check`` first.
        model: settings of the hosted model it asks, if any.
    """

    name: str
    artifact: str
    make: Callable[..., dict[str, Any]]
    settings: StrictModel
    needs: tuple[str, ...] = ()
    file: str = ""
    fingerprint: Callable[[], str] = str
    code: tuple[str, ...] = ()
    sandboxed: bool = False
    model: Any = None

    def __post_init__(self) -> None:
        if not self.artifact.isidentifier() or "__" in self.artifact:
            raise ValueError(f"{self.artifact!r} cannot name an artifact: a word, without __")


def _no_stages(data: Any, config: Any) -> Sequence[Stage]:
    return ()


def _nothing_to_say(data: Any, config: Any) -> Mapping[str, str]:
    return {}


def _always_works(config: Any, max_turns: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class EnvironmentPackage:
    """
    Args:
        config: settings of how an agent sees the environment (``environment:``); its field
            ``name`` is the folder's.
        data: settings of where its data comes from (``data:``).
        open: ``open(artifacts, config, max_turns)``; the artifacts are paths by name.
        artifacts: those that ``open`` needs, each made by one of the stages.
        stages: ``stages(data, config)``, in order.
        check: raises, before any work, what would fail later (``EnvironmentUnavailable``).
        describe: ``describe(data, config)``: what a dry run shows of it, by name.
        operators: settings that decide what programs may do to a machine, or in whose account they
            run: the training service takes them from its own configuration, never from a request.
        deployable: how it answers free questions, if it can.
    """

    config: type[StrictModel]
    data: type[StrictModel]
    open: Callable[[dict[str, Path], Any, int], Environment[Any, Any]]
    artifacts: tuple[str, ...] = ()
    stages: Callable[[Any, Any], Sequence[Stage]] = _no_stages
    check: Callable[[Any, int], None] = _always_works
    describe: Callable[[Any, Any], Mapping[str, str]] = _nothing_to_say
    operators: tuple[str, ...] = ()
    deployable: Deployable | None = None
