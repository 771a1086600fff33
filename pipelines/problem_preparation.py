"""Problems of the code environment to checked scenarios, cached."""

from __future__ import annotations

from zenml import pipeline
from zenml.enums import ExecutionMode

from environment.code.config import CodeDataConfig, SandboxConfig
from environment.code.sources import fingerprint
from steps.data import load_problems


@pipeline(name="problem_preparation", enable_cache=True, execution_mode=ExecutionMode.FAIL_FAST)
def problem_preparation_pipeline(data: CodeDataConfig, sandbox: SandboxConfig) -> None:
    """
    Args:
        sandbox: where the problems' own solutions run, to see that they hold.
    """
    load_problems(data=data, sandbox=sandbox, source_fingerprint=fingerprint(data))
