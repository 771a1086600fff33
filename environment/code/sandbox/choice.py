"""Opens the configured sandbox."""

from __future__ import annotations

from environment.code.config import SandboxConfig
from environment.code.sandbox.base import Sandbox


def open_sandbox(config: SandboxConfig) -> Sandbox:
    """
    Raises:
        SandboxUnavailable: no program can run safely as configured.
    """
    # Lazy imports: some kinds need optional packages.
    if config.kind == "isolated":
        from environment.code.sandbox.isolated import IsolatedSandbox

        return IsolatedSandbox(config.limits, config.workers)
    if config.kind == "bubblewrap":
        from environment.code.sandbox.bubblewrap import BubblewrapSandbox

        return BubblewrapSandbox(config.limits, config.workers)
    if config.kind == "cwsandbox":
        from environment.code.sandbox.cwsandbox import CwSandbox

        return CwSandbox(config.limits, config.workers)
    from environment.code.sandbox.stack import open_stack_sandbox

    return open_stack_sandbox(config.limits, config.workers)
