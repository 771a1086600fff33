"""Base models from GGUF files, as llama.cpp, Ollama and LM Studio use them.

transformers reads the weights. It also makes a tokenizer, but one of another kind for many files: a
different split into tokens, or an end token at the beginning. So byte-level BPE tokenizers are built
here from the file's own fields, and all are compared with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from backends.errors import BackendError

_CONTROL, _USER_DEFINED = 3, 4
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How a text is split before merging, by ``tokenizer.ggml.pre``; llama.cpp has the same list.
_SPLITS: dict[str, list[str]] = {
    "default": [_GPT2],
    "gpt-2": [_GPT2],
    "smollm": [r"\p{N}", _GPT2],
    "qwen2": [_MODERN % ""],
    "llama-bpe": [_MODERN % "{1,3}"],
}


def is_gguf(base_model: str) -> bool:
    return base_model.endswith(".gguf")


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """
    Raises:
        BackendError: the file cannot be read, or its tokenizer is of an unknown kind.
    """
    fields = _fields(path)
    kind = fields.get("tokenizer.ggml.model")
    if kind == "gpt2":
        tokenizer = _byte_level(path, fields)
    elif kind == "llama":
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    else:
        raise BackendError(f"{path}: no tokenizer of kind {kind} is known here; {_WAY_OUT}")
    _compare(path, tokenizer, fields)
    tokenizer.chat_template = fields.get("tokenizer.chat_template")
    return tokenizer


_WAY_OUT = "use the folder or Hub name of the original model"


def _fields(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(str(path))
    except (OSError, ValueError, IndexError) as error:
        raise BackendError(f"cannot load the model {path}: {error}") from error
    return {name: field.contents() for name, field in reader.fields.items()}


def _byte_level(path: Path, fields: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    pre = fields.get("tokenizer.ggml.pre", "default")
    if pre not in _SPLITS:
        raise BackendError(f"{path}: no tokenizer of kind {pre} is known here; {_WAY_OUT}")
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    fast = FastTokenizer(
        models.BPE(
            {token: index for index, token in enumerate(tokens)},
            merges,
            ignore_merges=pre == "llama-bpe",
        )
    )
    splits = [
        pre_tokenizers.Split(Regex(pattern), "isolated", invert=False) for pattern in _SPLITS[pre]
    ]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.pre_tokenizer = pre_tokenizers.Sequence([*splits, bytes_])
    fast.decoder = decoders.ByteLevel()
    types = fields.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    for special, type_ in ((True, _CONTROL), (False, _USER_DEFINED)):
        added = [t for t, of in zip(tokens, types, strict=True) if of == type_]
        fast.add_tokens([AddedToken(t, special=special, normalized=False) for t in added])
    names = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}
    special_tokens = {
        f"{ours}_token": tokens[fields[f"tokenizer.ggml.{theirs}_token_id"]]
        for theirs, ours in names.items()
        if f"tokenizer.ggml.{theirs}_token_id" in fields
    }
    return PreTrainedTokenizerFast(tokenizer_object=fast, **special_tokens)


def _compare(path: Path, tokenizer: PreTrainedTokenizerBase, fields: Mapping[str, Any]) -> None:
    tokens = fields["tokenizer.ggml.tokens"]
    vocabulary = tokenizer.get_vocab()
    other = next((i for i, t in enumerate(tokens) if vocabulary.get(t) != i), None)
    if other is not None:
        raise BackendError(f"{path}: token {other} is not {tokens[other]!r} here; {_WAY_OUT}")
    for name in ("bos", "eos"):
        expected = fields.get(f"tokenizer.ggml.{name}_token_id")
        found = getattr(tokenizer, f"{name}_token_id")
        if expected is not None and found != expected:
            raise BackendError(
                f"{path}: its {name} token is {expected}, here it would be {found}; {_WAY_OUT}"
            )
