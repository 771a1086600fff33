"""Tiny random models of the families that users train, each with a chat template of its family's form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.backends.pocket import POCKET

_CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
_QWEN = """\
{{- '<|im_start|>system\\n' + (messages[0].content if messages[0].role == 'system' else 'Help.') }}
{%- if tools %}
{{- '\\n\\n# Tools\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' + tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n<tool_call>\\n{"name": <function-name>, "arguments": <object>}\\n</tool_call>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
{%- if message.role == 'user' %}
{{- '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
THOUGHT
{{- message.content }}
{%- for call in message.tool_calls or [] %}
{%- if message.content or not loop.first %}{{- '\\n' }}{%- endif %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{%- if messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
_LLAMA3 = """\
{{- bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\nEnvironment: ipython\\n' }}
{%- if messages[0].role == 'system' %}
{{- messages[0].content | trim }}
{%- set messages = messages[1:] %}
{%- endif %}
{{- '<|eot_id|>' }}
{%- for message in messages %}
{%- if message.role == 'assistant' and message.tool_calls %}
{%- if message.tool_calls | length != 1 %}
{{- raise_exception('This model only supports single tool-calls at once!') }}
{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", ' }}
{{- '"parameters": ' + (call.arguments | tojson) + '}<|eot_id|>' }}
{%- elif message.role == 'tool' %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + (message.content | tojson) }}
{{- '<|eot_id|>' }}
{%- else %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
{%- if tools and loop.first %}
{{- 'Respond with {"name": function name, "parameters": arguments}.\\n\\n' }}
{%- for tool in tools %}{{- (tool | tojson(indent=4)) + '\\n\\n' }}{%- endfor %}
{%- endif %}
{{- (message.content | trim) + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
_MISTRAL = """\
{{- bos_token }}
{%- set system = messages[0].content if messages[0].role == 'system' else none %}
{%- set turns = messages[1:] if system else messages %}
{%- for message in turns %}
{%- if message.role == 'user' %}
{%- if loop.first and tools %}
{{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}
{%- endif %}
{{- '[INST] ' + ((system + '\\n\\n') if system and loop.first else '') + message.content }}
{{- '[/INST]' }}
{%- elif message.role == 'assistant' and message.tool_calls %}
{{- '[TOOL_CALLS] [' }}
{%- for call in message.tool_calls %}
{%- if call.id is undefined or call.id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
{%- endif %}
{{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) }}
{{- ', "id": "' + call.id + '"}' + (', ' if not loop.last else ']' + eos_token) }}
{%- endfor %}
{%- elif message.role == 'assistant' %}
{{- ' ' + message.content + eos_token }}
{%- elif message.role == 'tool' %}
{%- if message.tool_call_id is undefined or message.tool_call_id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
{%- endif %}
{{- '[TOOL_RESULTS] {"content": ' + (message.content | tojson) + ', "call_id": "' }}
{{- message.tool_call_id + '"}[/TOOL_RESULTS]' }}
{%- endif %}
{%- endfor %}
"""
_GEMMA = """\
{{- bos_token }}
SYSTEM
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- set role = 'model' if message.role == 'assistant' else message.role %}
{{- '<start_of_turn>' + role + '\\n' + (prefix if loop.first else '') + (message.content | trim) }}
{{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}
"""
_GEMMA2 = _GEMMA.replace(
    "SYSTEM\n",
    """{%- set prefix = '' %}
{%- if messages[0].role == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
""",
)
_GEMMA3 = _GEMMA.replace(
    "SYSTEM\n",
    """{%- set prefix = '' %}
{%- if messages[0].role == 'system' %}
{%- set prefix = messages[0].content + '\\n\\n' %}
{%- set messages = messages[1:] %}
{%- endif %}
""",
)
_PHI3 = """\
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- else %}{{- eos_token }}{%- endif %}
"""
_NO_THOUGHT = _QWEN.replace("THOUGHT\n", "")
_QWEN3 = _QWEN.replace(
    "THOUGHT", "{%- if loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class Family:
    """
    Args:
        marks: the special tokens of its template.
        end: the one that ends a turn; ``names_end``: whether its tokenizer says so.
    """

    model: Any
    config: Any
    template: str
    dialect: str = "hermes"
    marks: tuple[str, ...] = ("<|im_start|>", "<|im_end|>")
    end: str = "<|im_end|>"
    begin: str | None = None
    names_end: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    shows_tools: bool = True
    takes_system: bool = True
    several_calls: bool = True
    continues: bool = True


_HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_INST = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")
_RESULTS = ("[TOOL_RESULTS]", "[/TOOL_RESULTS]")
_TURNS = ("<bos>", "<start_of_turn>", "<end_of_turn>")
_GEMMA2_FAMILY = Family(
    Gemma2ForCausalLM,
    Gemma2Config,
    _GEMMA2,
    marks=_TURNS,
    end="<end_of_turn>",
    names_end=False,
    begin="<bos>",
    options={"head_dim": 16, "sliding_window": 64, "query_pre_attn_scalar": 24},
    shows_tools=False,
    takes_system=False,
)

FAMILIES = {
    "qwen2": Family(Qwen2ForCausalLM, Qwen2Config, _NO_THOUGHT),
    "qwen3": Family(
        Qwen3ForCausalLM, Qwen3Config, _QWEN3, options={"head_dim": 16}, continues=False
    ),
    "llama3": Family(
        LlamaForCausalLM,
        LlamaConfig,
        _LLAMA3,
        "llama3_json",
        _HEADERS,
        end="<|eot_id|>",
        begin="<|begin_of_text|>",
        several_calls=False,
    ),
    "mistral": Family(
        MistralForCausalLM,
        MistralConfig,
        _MISTRAL,
        "mistral",
        ("<s>", "</s>", *_INST, *_RESULTS),
        end="</s>",
        begin="<s>",
        options={"sliding_window": 32},
    ),
    "gemma2": _GEMMA2_FAMILY,
    "gemma3": replace(
        _GEMMA2_FAMILY,
        model=Gemma3ForCausalLM,
        config=Gemma3TextConfig,
        template=_GEMMA3,
        takes_system=True,
    ),
    "phi3": Family(
        Phi3ForCausalLM,
        Phi3Config,
        _PHI3,
        marks=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        end="<|end|>",
        shows_tools=False,
    ),
    "smollm2": Family(
        LlamaForCausalLM,
        LlamaConfig,
        _CHATML,
        options={"tie_word_embeddings": True},
        shows_tools=False,
    ),
}


# What the embedded sampler cannot compute.
REFUSED = {
    "gpt_oss": Family(
        GptOssForCausalLM,
        GptOssConfig,
        _NO_THOUGHT,
        options={"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1},
    )
}


def make_family(name: str, folder: Path, **changes: Any) -> Path:
    """Write the model as a folder. Its vocabulary is a little larger than its tokenizer's."""
    family = (FAMILIES | REFUSED)[name]
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    tokenizer.add_special_tokens({"additional_special_tokens": list(family.marks)})
    tokenizer.bos_token = family.begin
    if family.names_end:
        tokenizer.eos_token = family.end
    tokenizer.chat_template = family.template
    end = tokenizer.convert_tokens_to_ids(family.end)
    config = family.config(
        **{
            "vocab_size": len(tokenizer) + 7,
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 128,
            "max_position_embeddings": 4096,
            "eos_token_id": end,
            "bos_token_id": None,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": 0.2,
        }
        | family.options
        | changes
    )
    torch.manual_seed(0)
    family.model(config).float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def without_end_token(folder: Path) -> None:
    """Remove the end token from the generation config and the model's."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        values = json.loads(path.read_text())
        values.pop("eos_token_id", None)
        path.write_text(json.dumps(values))
