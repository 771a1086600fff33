"""What of ART's LocalBackend with exact packing runs without a GPU: the packing."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from pathlib import Path
from typing import Any, cast

import art
import pytest
from art.dev.openai_server import get_openai_server_config
from art.local.backend import LocalBackend

from backends.loading import load_tokenizer
from backends.local import ExactLocalBackend, model_settings, service_config
from tests.backends.families import make_family
from tests.backends.pocket import POCKET, choice, config, trajectory

GROUP = art.TrajectoryGroup(
    [
        trajectory(1.0, choice([11, 12], [13], [-0.25]), choice([11, 12, 13, 14], [15], [-0.75])),
        trajectory(0.0, choice([11, 12], [16])),
    ]
)


def pack(path: Path, longest: int = 2048, **options: Any) -> Any:
    model: Any = art.TrainableModel(
        name="m",
        project="p",
        base_model=POCKET,
        _internal_config={"init_args": {"max_seq_length": longest}},
    )
    settings: dict[str, Any] = {
        "advantage_balance": 0.0,
        "allow_training_without_logprobs": False,
        "scale_rewards": True,
        "plot_tensors": False,
        "packed_sequence_length": None,
        "logprob_calculation_chunk_size": 1024,
    }
    return ExactLocalBackend(path=str(path))._get_packed_tensors(
        model, [GROUP], **settings | options
    )


def test_it_packs_what_was_sampled(tmp_path: Path) -> None:
    packed = pack(tmp_path)
    assert packed["tokens"].shape == (2, 2048)
    rows = [ids[:5].tolist() for ids in packed["tokens"]]
    assert [11, 12, 13, 14, 15] in rows
    assert int(packed["assistant_mask"].sum()) == 3


def served(folder: Path) -> tuple[Any, Any]:
    """The arguments of ART's vLLM server, and the model's own settings."""
    internal, server = model_settings(config(kind="local", base_model=str(folder)))
    openai = get_openai_server_config("m", str(folder), "log", config=cast("Any", server))
    return openai["server_args"], internal


def test_vllm_reads_calls_as_the_model_writes_them(tmp_path: Path) -> None:
    arguments, internal = served(make_family("llama3", tmp_path / "llama3"))
    assert arguments["tool_call_parser"] == "llama3_json"
    assert arguments["enable_auto_tool_choice"] is True
    assert "chat_template" not in internal


def test_vllm_renders_conversations_with_the_template_that_shows_tools(tmp_path: Path) -> None:
    folder = make_family("gemma2", tmp_path / "gemma2")
    arguments, internal = served(folder)
    assert arguments["tool_call_parser"] == "hermes"
    own = load_tokenizer(str(folder)).chat_template
    assert internal["chat_template"].endswith(own)
    assert internal["chat_template"] != own


def test_the_width_can_be_set(tmp_path: Path) -> None:
    assert pack(tmp_path, packed_sequence_length=64)["tokens"].shape == (2, 64)


def test_a_row_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a row of 5 tokens where 4 fit"):
        pack(tmp_path, longest=4)


def test_it_replaces_a_method_that_art_still_has() -> None:
    ours, arts = (
        inspect.signature(backend._get_packed_tensors)
        for backend in (ExactLocalBackend, LocalBackend)
    )
    assert list(ours.parameters) == list(arts.parameters)


def test_its_configuration_is_what_art_would_make(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ART's own module, with what it wants of megatron put in its place."""
    supported = types.ModuleType("art.megatron.model_support")
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    supported.default_target_modules_for_model = lambda *_, **__: modules  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "art.megatron.model_support", supported)
    monkeypatch.delitem(sys.modules, "art.dev.get_model_config", raising=False)
    arts = importlib.import_module("art.dev.get_model_config")
    monkeypatch.delitem(sys.modules, "art.dev.get_model_config")
    settings: Any = {"init_args": {"max_seq_length": 64}, "peft_args": {"r": 4, "lora_alpha": 8}}
    expected = arts.get_model_config(POCKET, str(tmp_path), settings)
    ours = service_config(POCKET, str(tmp_path), settings)
    # A path for pictures, which it never gets, and a bound on what vLLM makes room for.
    assert expected["engine_args"].pop("allowed_local_media_path") == "/tmp"
    assert ours["engine_args"].pop("max_model_len") == 64
    assert ours == expected


def test_it_continues_from_the_newest_checkpoint(tmp_path: Path) -> None:
    newest = tmp_path / "checkpoints" / "0003"
    newest.mkdir(parents=True)
    config = service_config(POCKET, str(tmp_path), {})
    assert config["init_args"]["model_name"] == str(newest)
    assert config["engine_args"]["model"] == POCKET
