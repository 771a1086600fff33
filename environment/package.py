"""What an environment's folder provides: its settings, its data stages and its constructor.

The folder's ``__init__`` ends with ``PACKAGE = EnvironmentPackage(...)``. Pipelines, the training
service, reports and the deployment know nothing else about an environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from environment.base import Environment, StrictModel
from environment.deployable import Deployable


class Progress(Protocol):
    """A progress bar."""

    def advance(self, shown: dict[str, str], n: int = 1) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """The context passed to a stage.

    Args:
        out: the path at which to create the artifact, a file or a folder.
        ask: opens the hosted model of ``Stage.model``, with a cache of paid replies on disk.
        progress: ``progress(total, title, unit)`` opens a progress bar.
    """

    out: Path
    ask: Callable[[Any], Any]
    progress: Callable[[int, str, str], Progress]


@dataclass(frozen=True, slots=True)
class Stage:
    """One cached step of an environment's data pipeline.

    Args:
        name: the step's name.
        artifact: the name by which later stages and ``EnvironmentPackage.open`` know its output.
        make: ``make(work, settings, **needs)``, a top-level function; returns JSON metadata for
            the artifact.
        settings: part of the cache key, so only what the stage depends on.
        needs: artifacts of earlier stages, passed to ``make`` as paths by name.
        file: the artifact's file name.
        fingerprint: digests the external files it reads, for the cache key.
        code: modules in the cache key besides that of ``make``.
        sandboxed: whether it runs programs and so requires ``EnvironmentPackage.check`` first.
        model: settings of the hosted model it uses, if any.
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


@dataclass(frozen=True, slots=True)
class EnvironmentPackage:
    """
    Args:
        config: the configuration section ``environment:``; its field ``name`` is the folder's.
        data: the configuration section ``data:``.
        open: ``open(artifacts, config, max_turns)``, with artifact paths by name.
        artifacts: the artifacts that ``open`` needs, each made by one of the stages.
        stages: ``stages(data, config)``, in order.
        check: ``check(config, max_turns)`` raises ``EnvironmentUnavailable`` before any work.
        describe: ``describe(data, config)``: facts for a dry run to show, by name.
        operators: settings reserved to the operator, as they decide what programs may do to a
            machine or whose account they use: the training service takes them from its own
            configuration, never from a request.
        deployable: how it answers user questions, if it can.
    """

    config: type[StrictModel]
    data: type[StrictModel]
    open: Callable[[dict[str, Path], Any, int], Environment[Any, Any]]
    artifacts: tuple[str, ...] = ()
    stages: Callable[[Any, Any], Sequence[Stage]] = lambda data, config: ()
    check: Callable[[Any, int], None] = lambda config, max_turns: None
    describe: Callable[[Any, Any], Mapping[str, str]] = lambda data, config: {}
    operators: tuple[str, ...] = ()
    deployable: Deployable | None = None
