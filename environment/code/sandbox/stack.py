"""Programs in the active ZenML stack's sandbox: Docker, Kubernetes, Modal, or a flavor of ours.

The component provides the isolation; the log lists what its flavor cannot enforce. ZenML is
imported only here, inside functions.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar, runtime_checkable

from environment.code.sandbox import stack_settings
from environment.code.sandbox.base import Limits, Sandbox, SandboxError, SandboxUnavailable
from environment.code.sandbox.containers import ContainerSandbox, Ended

_NONE = (
    "the ZenML stack {stack!r} has no sandbox. For example with Docker:\n"
    "  zenml sandbox register docker --flavor=docker\n"
    "  {into_stack}\n"
    "docs/sandboxes.md has the commands for the others."
)
# ZenML's default stack cannot be modified.
_OWN_STACK = "zenml stack register code -o default -a default -D default --sandbox=docker --set"
_LOCAL = (
    "the sandbox {name!r} of the ZenML stack has the flavor local, which isolates nothing: programs "
    "could access your files, keys and network. Use environment.sandbox.kind: isolated, or a "
    "sandbox of the flavor isolated, docker or kubernetes (docs/sandboxes.md)."
)
log = logging.getLogger(__name__)
T = TypeVar("T")


@runtime_checkable
class RunsPrograms(Protocol):
    """A component that opens a sandbox itself: our own flavors."""

    def open_sandbox(self, limits: Limits, workers: int) -> Sandbox:
        """See ``open_stack_sandbox``."""


def open_stack_sandbox(limits: Limits, workers: int) -> Sandbox:
    """Open the active ZenML stack's sandbox.

    Args:
        workers: concurrent programs, and the number of containers started in advance.

    Raises:
        SandboxUnavailable: the stack has no sandbox, or one without isolation.
    """
    from zenml.client import Client

    stack = Client().active_stack
    component = stack.sandbox
    if component is None:
        update = f"zenml stack update {stack.name} --sandbox=docker"
        into_stack = _OWN_STACK if stack.name == "default" else update
        raise SandboxUnavailable(_NONE.format(stack=stack.name, into_stack=into_stack))
    if isinstance(component, RunsPrograms):
        return component.open_sandbox(limits, workers)
    return StackSandbox(component, limits, workers)


class StackSandbox(ContainerSandbox):
    """
    Args:
        component: a ``zenml.sandboxes.BaseSandbox`` whose image has a ``python`` of 3.9 or newer.

    Raises:
        SandboxUnavailable: its flavor is ``local``.
    """

    def __init__(self, component: Any, limits: Limits, workers: int) -> None:
        flavor = component.flavor
        if flavor == "local":
            raise SandboxUnavailable(_LOCAL.format(name=component.name))
        if lacking := stack_settings.lacking(flavor):
            log.warning("ZenML's sandbox flavor %s has no setting for %s", flavor, lacking)
        # Resolved here, as threads do not see the running step and its settings. For the same
        # reason they do not report each session to ZenML's server.
        settings = component.resolve_settings()
        faults = _faults()

        def make(tags: Mapping[str, str]) -> _SessionContainer:
            configured = settings.model_dump(exclude_unset=True)
            strict = type(settings)(**stack_settings.strict(flavor, configured, limits, tags))
            try:
                session = component.create_session(strict, destroy_on_exit=True)
            except faults as error:
                raise SandboxError(f"{flavor}: no session started: {error}") from error
            return _SessionContainer(session, faults, 4096 + 4 * limits.output_kib * 1024)

        super().__init__(flavor, make, limits, workers, ahead=workers)


class _SessionContainer:
    """A ZenML session as a container.

    Args:
        faults: exceptions raised when its service fails.
        max_chars: maximum output to keep.
    """

    def __init__(self, session: Any, faults: tuple[type[Exception], ...], max_chars: int) -> None:
        self._session, self._faults, self._max_chars = session, faults, max_chars

    def execute(self, command: Sequence[str], timeout_s: float) -> Ended | None:
        try:
            # Not ZenML's wait(), which polls Modal five times a second.
            return _within(timeout_s, lambda: self._run(list(command)))
        except self._faults as error:
            raise SandboxError(f"cannot run the command: {error}") from error

    def _run(self, command: list[str]) -> Ended:
        output = self._session.exec(command).collect(max_chars=self._max_chars)
        return Ended(output.exit_code, output.stdout)

    def destroy(self) -> None:
        try:
            self._session.destroy()
        except self._faults as error:
            if not _is_gone(error):
                raise SandboxError(f"session {self._session.id}: {error}") from error


def _within(timeout_s: float, call: Callable[[], T]) -> T | None:
    """The result of a call, or None on timeout; the call then continues in its thread."""
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 (re-raised by result())
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return done.result(timeout_s)
    except TimeoutError:
        # The call itself may have raised TimeoutError.
        return done.result() if done.done() else None


def _is_gone(error: BaseException) -> bool:
    """Whether Docker or Kubernetes answered that there is no such container."""
    response = getattr(error, "response", None)
    return 404 in (getattr(error, "status", None), getattr(response, "status_code", None))


def _faults() -> tuple[type[Exception], ...]:
    """Exceptions of ZenML's flavors when Docker, Kubernetes or Modal fail."""
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    faults: list[type[Exception]] = [RuntimeError, OSError, ValueError, DockerException, HTTPError]
    with contextlib.suppress(ImportError):
        from kubernetes.client import OpenApiException

        faults.append(OpenApiException)
    with contextlib.suppress(ImportError):
        from modal.exception import Error

        faults.append(Error)
    return tuple(faults)
