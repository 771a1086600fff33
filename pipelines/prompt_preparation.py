"""Examples of the prompt task to a checked file, cached."""

from __future__ import annotations

from zenml import pipeline
from zenml.enums import ExecutionMode

from environment.prompt_task.config import PromptTaskDataConfig
from environment.prompt_task.examples import fingerprint
from steps.data import load_examples


@pipeline(name="prompt_preparation", enable_cache=True, execution_mode=ExecutionMode.FAIL_FAST)
def prompt_preparation_pipeline(data: PromptTaskDataConfig, held_out_share: float) -> None:
    load_examples(
        data=data, held_out_share=held_out_share, source_fingerprint=fingerprint(data.path)
    )
