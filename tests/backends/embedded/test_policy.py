from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from backends import checkpoints
from backends.chat_format import load_chat_format
from backends.config import LoraConfig
from backends.embedded.policy import Policy
from backends.errors import BackendError
from backends.loading import load_tokenizer, resolve_device
from tests.backends.conftest import NewPolicy
from tests.backends.pocket import POCKET, config, prompt_of, shake


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """But for the rounding of float32, as the probabilities it comes to."""
    return torch.allclose(one.softmax(dim=-1), other.softmax(dim=-1), atol=1e-4)


def save(policy: Policy, step: int) -> Path:
    """The adapter as the checkpoint of a step."""
    return checkpoints.write_checkpoint(
        policy.model_dir, step, lambda folder: policy.trained.save_pretrained(str(folder))
    )


@pytest.fixture
def checkpoint(new_policy: NewPolicy) -> Path:
    """A good checkpoint of step 1, for tests to break."""
    policy = new_policy()
    shake(policy)
    return save(policy, 1)


def test_an_untrained_policy_is_its_base(policy: Policy) -> None:
    base = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
    assert policy.step == 0
    for name, weight in base.state_dict().items():
        assert torch.equal(weight, policy.sampling_model(0).state_dict()[name]), name


def test_merged_weights_are_base_plus_adapter(new_policy: NewPolicy) -> None:
    policy = new_policy(lora=LoraConfig(rank=8, alpha=24))
    shake(policy)
    expected = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32).state_dict()
    merged, adapter = policy.sampling_model(0).state_dict(), policy.trained.state_dict()
    downs = [name for name in adapter if ".lora_A." in name]
    assert len(downs) == 7 * policy.sampling_model(0).config.num_hidden_layers
    for name in downs:
        adapted = name.removeprefix("base_model.model.").replace("lora_A.default.", "")
        expected[adapted] += 24 / 8 * adapter[name.replace("_A.", "_B.")] @ adapter[name]
    for name, weight in merged.items():
        assert torch.allclose(weight, expected[name], atol=1e-6), name


def test_merged_weights_compute_what_the_adapter_does(new_policy: NewPolicy) -> None:
    policy = new_policy()
    shake(policy)
    ids = prompt_of(policy, "What is the pager number of Bob Miller?")
    with_adapter = logits(policy.trained, ids)
    base = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
    assert (with_adapter - logits(base, ids)).abs().max() > 0.1
    assert same(with_adapter, logits(policy.sampling_model(0), ids))


def test_every_linear_layer_carries_an_adapter(policy: Policy) -> None:
    adapted = {name.split(".")[-4] for name in policy.trained.state_dict() if ".lora_A." in name}
    assert adapted == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    trained = [p for p in policy.trained.parameters() if p.requires_grad]
    assert {min(p.shape) for p in trained} == {16}


def test_a_seed_decides_the_adapters_start(new_policy: NewPolicy) -> None:
    one, same, other = (new_policy(seed).trained.state_dict() for seed in (1, 1, 2))
    name = next(name for name in one if "lora_A" in name)
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


def test_after_an_advance_the_newest_weights_are_sampled(new_policy: NewPolicy) -> None:
    policy = new_policy()
    save(policy, 0)
    ids = prompt_of(policy, "Hi")
    before = logits(policy.sampling_model(0), ids)
    shake(policy)
    save(policy, 1)
    policy.advance(1)
    assert same(logits(policy.sampling_model(1), ids), logits(policy.trained, ids))
    assert torch.equal(logits(policy.sampling_model(0), ids), before)


def test_every_checkpoint_there_is_can_be_sampled(new_policy: NewPolicy) -> None:
    policy = new_policy()
    ids, expected = prompt_of(policy, "Hi"), {}
    for step in range(4):
        shake(policy, seed=step)
        save(policy, step)
        policy.advance(step)
        expected[step] = logits(policy.sampling_model(step), ids)
    for step in (0, 3, 1, 2, 0, 1, 3):
        assert torch.equal(logits(policy.sampling_model(step), ids), expected[step])


def test_a_step_without_a_checkpoint_is_not_there(policy: Policy) -> None:
    with pytest.raises(KeyError):
        policy.sampling_model(5)


def test_the_newest_checkpoint_is_loaded(new_policy: NewPolicy) -> None:
    policy = new_policy()
    for step in (1, 2):
        shake(policy, seed=step)
        save(policy, step)
    again = new_policy()
    assert (again.step, again.steps) == (2, [1, 2])
    for name, weight in policy.trained.state_dict().items():
        assert torch.equal(weight, again.trained.state_dict()[name])


def test_an_adapter_of_another_rank_is_loaded_as_it_is(new_policy: NewPolicy) -> None:
    small = new_policy(lora=LoraConfig(rank=4, alpha=4))
    shake(small)
    save(small, 1)
    policy = new_policy()
    ids = prompt_of(policy, "Hi")
    assert same(logits(policy.sampling_model(1), ids), logits(small.trained, ids))
    assert {min(p.shape) for p in policy.trained.parameters() if p.requires_grad} == {4}


def no_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def no_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def cut_weights(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def empty_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"")


def broken_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LO')


def config_of_nothing(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def of_a_wider_model(folder: Path) -> None:
    foreign(folder, hidden_size=128)


def of_a_deeper_model(folder: Path) -> None:
    foreign(folder, num_hidden_layers=6)


def foreign(folder: Path, **changes: int) -> None:
    """An adapter of the same kind, made for another model."""
    own = Qwen2Config.from_pretrained(POCKET).to_dict()
    own.pop("layer_types")
    model = Qwen2ForCausalLM(Qwen2Config(**own | changes))
    adapter = PeftLoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(model, adapter).save_pretrained(str(folder))


def other_names(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({f"other.{name}": value for name, value in load_file(file).items()}, file)


@pytest.mark.parametrize(
    "damage",
    [
        no_weights,
        no_config,
        nothing,
        cut_weights,
        empty_weights,
        broken_config,
        config_of_nothing,
        of_a_wider_model,
        of_a_deeper_model,
        other_names,
    ],
)
def test_an_adapter_that_does_not_fit_is_named(
    new_policy: NewPolicy, checkpoint: Path, damage: Any
) -> None:
    damage(checkpoint)
    with pytest.raises(BackendError) as raised:
        new_policy()
    assert str(checkpoint) in str(raised.value)
    assert POCKET in str(raised.value)


def copy_of_pocket(folder: Path) -> Path:
    return Path(shutil.copytree(POCKET, folder / "base", ignore=shutil.ignore_patterns("*.py")))


def cut(name: str) -> Any:
    def damage(folder: Path) -> None:
        file = folder / name
        file.write_bytes(file.read_bytes()[:-50])

    damage.__name__ = f"cut {name}"
    return damage


def without(name: str) -> Any:
    def damage(folder: Path) -> None:
        (folder / name).unlink()

    damage.__name__ = f"without {name}"
    return damage


@pytest.mark.parametrize(
    "damage",
    [
        cut("model.safetensors"),
        cut("config.json"),
        cut("tokenizer.json"),
        without("model.safetensors"),
        without("config.json"),
        without("tokenizer.json"),
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_base_model_that_cannot_be_loaded_is_named(
    new_policy: NewPolicy, tmp_path: Path, damage: Any
) -> None:
    base = copy_of_pocket(tmp_path)
    damage(base)
    with pytest.raises(BackendError, match=f"cannot load the model {base}: ."):
        new_policy(base_model=str(base))


def test_a_base_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    base = copy_of_pocket(tmp_path)
    (base / "chat_template.jinja").unlink()
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(BackendError, match="no chat template: use an instruct model"):
        load_chat_format(config(base_model=str(base)))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", '{"version": 7}'),
        ("tokenizer.json", '{"added_tokens": []}'),
        ("tokenizer.json", "[" * 5_000),
        ("tokenizer_config.json", '{"tokenizer_class": 7}'),
    ],
)
def test_a_tokenizer_that_is_broken_is_named(tmp_path: Path, file: str, content: str) -> None:
    base = copy_of_pocket(tmp_path)
    (base / file).write_text(content)
    with pytest.raises(BackendError, match=f"cannot load the model {base}: ."):
        load_tokenizer(str(base))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_no_code_of_a_model_is_run_and_nobody_is_asked_whether(
    new_policy: NewPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    base = copy_of_pocket(tmp_path)
    settings = json.loads((base / file).read_text())
    own = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    settings |= {"model_type": "own", "tokenizer_class": "Own"}
    settings["auto_map"] = own | {"AutoTokenizer": ["own.Own", "own.Own"]}
    (base / file).write_text(json.dumps(settings))
    (base / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: ...\n")
    inputs = []
    monkeypatch.setattr("builtins.input", lambda *prompt: inputs.append(prompt) or "y")
    with suppress(BackendError):
        new_policy(base_model=str(base))
    assert not inputs
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_not_loaded(new_policy: NewPolicy, tmp_path: Path) -> None:
    base = copy_of_pocket(tmp_path)
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(BackendError, match="cannot load the model"):
        new_policy(base_model=str(base))


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "no-one/has-this-model"])
def test_a_base_model_that_is_not_there_is_named(new_policy: NewPolicy, name: str) -> None:
    with pytest.raises(BackendError, match=f"cannot load the model {name}"):
        new_policy(base_model=name)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no CUDA GPU is visible; use device: cpu or auto"):
        resolve_device(config(device="cuda"))
    assert resolve_device(config(device="auto")).type == "cpu"


def test_a_gpu_is_taken_where_there_is_one_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    kinds = [resolve_device(config(device=device)).type for device in ("auto", "cuda", "cpu")]
    assert kinds == ["cuda", "cuda", "cpu"]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_the_number_format_is_as_asked(
    new_policy: NewPolicy, dtype: str, expected: torch.dtype
) -> None:
    assert {p.dtype for p in new_policy(dtype=dtype).sampling_model(0).parameters()} == {expected}


@pytest.mark.parametrize(("setting", "given"), [(100, 100), (1_000_000, None)])
def test_the_longest_conversation_is_the_lower_of_two_bounds(
    new_policy: NewPolicy, setting: int, given: int | None
) -> None:
    own = Qwen2Config.from_pretrained(POCKET).max_position_embeddings
    assert new_policy(max_sequence_tokens=setting).max_tokens == (given or own)


def test_a_turn_ends_with_the_templates_end(policy: Policy) -> None:
    rendered = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], return_dict=False
    )
    assert rendered[-2] in policy.end_ids
