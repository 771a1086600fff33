from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from art.loss import loss_fn
from art.types import TrainConfig

from backends.embedded.policy import Policy
from backends.embedded.trainer import Trainer
from backends.packing import pack_groups, training_rows
from tests.backends.conftest import NewPolicy
from tests.backends.pocket import QUESTIONS, logprobs_of, sampled_groups, shake


def lengths_of(packed: Any) -> list[int]:
    return (packed["parent_ids"] != -1).sum(dim=1).tolist()


def recomputed(policy: Policy, packed: Any, dev_config: Any) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradient with ART's own loss, one row at a time, nothing padded."""
    total = int(packed["assistant_mask"][:, 1:].sum())
    policy.trained.zero_grad(set_to_none=True)
    loss = 0.0
    for row, length in enumerate(lengths_of(packed)):
        inputs: Any = {
            name: value[row : row + 1, :length]
            for name, value in packed.items()
            if isinstance(value, torch.Tensor)
        }
        ids = inputs["tokens"]
        every = torch.log_softmax(policy.trained(input_ids=ids).logits[:, :-1], dim=-1)
        logprobs = every.gather(2, ids[:, 1:, None])[:, :, 0]
        logprobs = torch.nn.functional.pad(logprobs, (0, 1))
        part = loss_fn(inputs, logprobs, None, None, dev_config, reduction="sum")
        (part.policy_loss_sum / total).backward()
        loss += part.policy_loss_sum.item() / total
    return loss, gradients(policy)


def gradients(policy: Policy) -> list[torch.Tensor]:
    return [p.grad.clone() for p in policy.trained.parameters() if p.grad is not None]


def norm_of(values: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(value.pow(2).sum()) for value in values))


def clipped(values: list[torch.Tensor]) -> list[torch.Tensor]:
    factor = min(1.0, 1.0 / (norm_of(values) + 1e-6))
    return [value * factor for value in values]


def train(policy: Policy, packed: Any, learning_rate: float = 0.0, **dev_config: Any) -> Any:
    return Trainer(policy).train(packed, TrainConfig(learning_rate=learning_rate), dev_config)


@pytest.fixture
def shaken(new_policy: NewPolicy) -> Policy:
    """A policy whose adapter has an effect, so that every part of it has a gradient."""
    policy = new_policy()
    shake(policy)
    return policy


def pack(policy: Policy, **options: Any) -> Any:
    return pack_groups(sampled_groups(policy, **options), policy.tokenizer)


@pytest.mark.parametrize("ppo", [False, True], ids=["cispo", "ppo"])
@pytest.mark.parametrize("moved", [False, True], ids=["fresh", "stale"])
def test_the_gradient_is_that_of_arts_loss(shaken: Policy, ppo: bool, moved: bool) -> None:
    packed = pack(shaken)
    if moved:
        shake(shaken, seed=2)
    loss, expected = recomputed(shaken, packed, {"ppo": ppo})
    metrics = train(shaken, packed, ppo=ppo)
    assert len(expected) > 50
    assert norm_of(expected) > 0.1
    assert metrics["loss/train"] == pytest.approx(loss, abs=1e-5)
    assert metrics["loss/grad_norm"] == pytest.approx(norm_of(expected), rel=1e-4)
    for gradient, wanted in zip(gradients(shaken), clipped(expected), strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-5)


def test_the_split_into_passes_changes_nothing(shaken: Policy) -> None:
    packed = pack(shaken, questions=QUESTIONS)
    results = []
    for tokens in (64, 700, 1 << 20):
        config = shaken.config.model_copy(update={"micro_batch_tokens": tokens})
        shaken.config = config
        results.append((train(shaken, packed), gradients(shaken)))
    assert results[0][0]["data/padded_tokens"] < results[2][0]["data/padded_tokens"]
    for metrics, split_gradients in results[:2]:
        for name in {name for name in metrics if name.startswith("loss/")}:
            assert metrics[name] == pytest.approx(results[2][0][name], abs=1e-5, rel=1e-5)
        for one, other in zip(split_gradients, results[2][1], strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_metrics_count_what_was_trained_on(shaken: Policy) -> None:
    groups = sampled_groups(shaken)
    trajectories = [trajectory for group in groups for trajectory in group.trajectories]
    rows = [row for t in trajectories for row in training_rows(t)]
    metrics = train(shaken, pack_groups(groups, shaken.tokenizer))
    assert metrics["data/trained_tokens"] == sum(sum(row.written) for row in rows)
    assert sum(len(row.ids) for row in rows) <= metrics["data/padded_tokens"]


def test_entropy_is_the_mean_over_trained_tokens(shaken: Policy) -> None:
    packed = pack(shaken)
    total, count = 0.0, 0
    for row, length in enumerate(lengths_of(packed)):
        ids, mask = packed["tokens"][row, :length], packed["assistant_mask"][row, 1:length]
        with torch.no_grad():
            logits = shaken.trained(input_ids=ids[None]).logits[0, :-1][mask]
        total += float(torch.distributions.Categorical(logits=logits).entropy().sum())
        count += int(mask.sum())
    assert train(shaken, packed)["loss/entropy"] == pytest.approx(total / count, abs=1e-5)


def test_probabilities_of_fresh_samples_agree(shaken: Policy) -> None:
    metrics = train(shaken, pack(shaken))
    assert metrics["loss/probs_corr"] == pytest.approx(1, abs=1e-6)
    assert metrics["loss/logprob_diff"] < 1e-4


def test_probabilities_of_shuffled_samples_do_not(shaken: Policy) -> None:
    packed = pack(shaken)
    mask = packed["assistant_mask"]
    logprobs = packed["logprobs"][mask]
    order = torch.randperm(len(logprobs), generator=torch.Generator().manual_seed(0))
    packed["logprobs"][mask] = logprobs[order]
    metrics = train(shaken, packed)
    assert metrics["loss/probs_corr"] < 0.9
    assert metrics["loss/logprob_diff"] > 0.1


@pytest.mark.parametrize("name", ["advantages", "weights"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_changes_nothing(shaken: Policy, name: str, value: float) -> None:
    trainer = Trainer(shaken)
    good = pack(shaken)
    trainer.train(good, TrainConfig(learning_rate=1e-3), {})
    before = {key: each.clone() for key, each in shaken.trained.state_dict().items()}
    moments = [s["exp_avg"].clone() for s in trainer.optimizer.state.values()]
    bad = {**good, name: good[name].clone()}
    row, column = bad["assistant_mask"].nonzero()[0].tolist()
    bad[name][row, column] = value
    with pytest.raises(FloatingPointError, match="not applied"):
        trainer.train(bad, TrainConfig(learning_rate=1e-3), {})
    for key, each in shaken.trained.state_dict().items():
        assert torch.equal(each, before[key]), key
    for state, moment in zip(trainer.optimizer.state.values(), moments, strict=True):
        assert torch.equal(state["exp_avg"], moment)
        assert int(state["step"]) == 1


def test_a_step_makes_good_trajectories_likelier_and_bad_ones_less(new_policy: NewPolicy) -> None:
    policy = new_policy()
    packed = pack(policy, questions=QUESTIONS)

    def likelihood() -> tuple[float, float]:
        good = bad = 0.0
        for row, length in enumerate(lengths_of(packed)):
            mask = packed["assistant_mask"][row, 1:length]
            logprobs = logprobs_of(policy.trained, packed["tokens"][row, :length].tolist())
            if packed["advantages"][row].sum() > 0:
                good += float(logprobs[mask].sum())
            else:
                bad += float(logprobs[mask].sum())
        return good, bad

    good, bad = likelihood()
    train(policy, packed, learning_rate=1e-3)
    better, worse = likelihood()
    assert better > good
    assert worse < bad


def test_only_the_adapter_is_trained(shaken: Policy) -> None:
    before = {k: v.clone() for k, v in shaken.trained.state_dict().items()}
    train(shaken, pack(shaken), learning_rate=1e-3)
    changed = {k for k, v in shaken.trained.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert changed == {k for k in before if "lora_" in k}


def test_state_continues_the_optimizer(new_policy: NewPolicy) -> None:
    """Two steps by one trainer, or one each by two with the state handed over."""
    weights = []
    packed = pack(new_policy())
    for handed_over in (False, True):
        policy = new_policy()
        trainer = Trainer(policy)
        trainer.train(packed, TrainConfig(learning_rate=1e-3), {})
        if handed_over:
            state = trainer.state()
            trainer = Trainer(policy)
            trainer.restore(state)
        trainer.train(packed, TrainConfig(learning_rate=1e-3), {})
        weights.append(policy.trained.state_dict())
    for name, weight in weights[0].items():
        assert torch.allclose(weight, weights[1][name], atol=1e-6), name
