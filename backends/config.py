"""Backend settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backends.tool_calls import ToolParser
from environment.base import StrictModel


class LoraConfig(StrictModel):
    """The trained adapter on all linear layers (Hu et al., 2021, "LoRA")."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)


class BackendConfig(StrictModel):
    kind: Literal["embedded", "local", "serverless", "tinker"] = "local"
    base_model: str = Field(
        "Qwen/Qwen2.5-7B-Instruct", description="Hub name or local folder of a model."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU."
    )
    lora: LoraConfig = LoraConfig()
    tool_parser: ToolParser = Field(
        "auto", description="How the model writes tool calls; auto: as its chat template does."
    )
    max_sequence_tokens: int = Field(8_192, ge=64, description="Longest conversation.")
    micro_batch_tokens: int = Field(8_192, ge=64, description="Tokens per backward pass.")
    threads: int = Field(0, ge=0, description="CPU threads; 0 for one per core.")
