from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from backends.embedded.cache import Prefix
from backends.embedded.policy import Policy
from backends.embedded.sampler import PrefixStore, Sampler
from backends.sampling import Sample, SampleRequest
from tests.backends.pocket import QUESTIONS, logprobs_of, prompt_of, sample

LENGTH = 20
# The first number of random.Random(ALMOST_ONE) lies so close below one that float32 rounds it up.
ALMOST_ONE = 6037203


@pytest.fixture(scope="module")
def model(policy: Policy) -> Any:
    """In float64, where the order of a sum decides nothing."""
    return copy.deepcopy(policy.sampling_model(0)).double()


@pytest.fixture(scope="module")
def new_sampler(policy: Policy, model: Any) -> Callable[..., Sampler]:
    return partial(Sampler, model, policy.end_ids)


@pytest.fixture
def sampler(new_sampler: Callable[..., Sampler]) -> Sampler:
    return new_sampler()


@pytest.fixture(scope="module")
def prompts(policy: Policy) -> list[list[int]]:
    prompts = [prompt_of(policy, question) for question in QUESTIONS]
    assert len({len(prompt) for prompt in prompts}) > 3
    return prompts


@pytest.fixture(scope="module")
def greedy(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """What transformers generates, one prompt at a time."""
    return [generate(model, prompt) for prompt in prompts]


def generate(model: Any, prompt: list[int]) -> list[int]:
    ids = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
        max_new_tokens=LENGTH,
        do_sample=False,
    )
    return ids[0, len(prompt) :].tolist()


def requests_for(prompts: list[list[int]], **options: Any) -> list[SampleRequest]:
    options = {"max_tokens": LENGTH, "temperature": 0.0} | options
    return [SampleRequest(prompt, **options) for prompt in prompts]


def tokens(samples: list[Sample]) -> list[list[int]]:
    return [each.token_ids for each in samples]


def test_a_batch_of_mixed_lengths_is_transformers_greedy_search(
    sampler: Sampler, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    assert tokens(sample(sampler, requests_for(prompts))) == greedy


def test_so_it_is_in_float32(policy: Policy, prompts: list[list[int]]) -> None:
    model = policy.sampling_model(0)
    sampled = tokens(sample(Sampler(model, policy.end_ids), requests_for(prompts)))
    assert sampled == [generate(model, prompt) for prompt in prompts]


def test_requests_may_join_a_running_batch(
    sampler: Sampler, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    waiting = requests_for(prompts)
    done = {}
    for request in waiting:
        done |= {id(r): each for r, each in sampler.admit([request])}
        for _ in range(3):
            done |= {id(r): each for r, each in sampler.step()} if sampler.active else {}
    while sampler.active:
        done |= {id(r): each for r, each in sampler.step()}
    assert [done[id(request)].token_ids for request in waiting] == greedy


def test_a_conversation_is_continued_from_its_cache(
    model: Any, sampler: Sampler, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    sample(sampler, requests_for(prompts))
    before = sampler.stats.prefilled_tokens
    later = [p + g + prompts[1] for p, g in zip(prompts, greedy, strict=True)]
    sampled = tokens(sample(sampler, requests_for(later)))
    # The last sampled token was never run through the model: it counts as new.
    new = len(prompts) * (len(prompts[1]) + 1)
    assert sampler.stats.prefilled_tokens - before == new
    assert sampled == [generate(model, prompt) for prompt in later]


def test_a_conversation_that_turns_off_is_continued_from_where_it_did(
    model: Any, sampler: Sampler, prompts: list[list[int]]
) -> None:
    [first] = sample(sampler, requests_for([prompts[2]]))
    kept = prompts[2] + first.token_ids[:2]
    other = next(token for token in range(3, 100) if token != first.token_ids[2])
    before = sampler.stats.prefilled_tokens
    [completion] = sample(sampler, requests_for([[*kept, other, *prompts[1]]]))
    assert sampler.stats.prefilled_tokens - before == 1 + len(prompts[1])
    assert completion.token_ids == generate(model, [*kept, other, *prompts[1]])


def test_the_same_prompt_again_runs_its_last_token_only(
    sampler: Sampler, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    sample(sampler, requests_for(prompts[:1]))
    before = sampler.stats.prefilled_tokens
    assert tokens(sample(sampler, requests_for(prompts[:1]))) == greedy[:1]
    assert sampler.stats.prefilled_tokens - before == 1


def test_equal_prompts_are_prefilled_once(
    sampler: Sampler, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    mixed = [prompts[0]] * 5 + [prompts[1]] + [prompts[0]] * 3
    sampled = tokens(sample(sampler, requests_for(mixed)))
    assert sampled == [greedy[0]] * 5 + [greedy[1]] + [greedy[0]] * 3
    assert sampler.stats.prefilled_tokens == len(prompts[0]) + len(prompts[1])
    assert sampler.stats.prompt_tokens == 8 * len(prompts[0]) + len(prompts[1])
    assert sampler.stats.requests == 9
    assert sampler.stats.sampled_tokens == sum(map(len, sampled))


def test_a_seed_gives_the_same_tokens_alone_and_in_company(
    new_sampler: Callable[..., Sampler], prompts: list[list[int]]
) -> None:
    requests = [
        SampleRequest(prompts[n % len(prompts)], LENGTH, 1.0 if n % 3 else 0.7, seed=n)
        for n in range(18)
    ]
    together = tokens(sample(new_sampler(), requests))
    for request, expected in zip(requests, together, strict=True):
        alone = new_sampler()
        assert tokens(sample(alone, [request])) == [expected]


def test_other_seeds_give_other_tokens(sampler: Sampler, prompts: list[list[int]]) -> None:
    requests = [SampleRequest(prompts[0], LENGTH, 1.5, seed) for seed in range(12)]
    assert len({tuple(ids) for ids in tokens(sample(sampler, requests))}) > 6


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 2.5])
def test_logprobs_are_those_of_a_full_forward_pass(
    model: Any, sampler: Sampler, prompts: list[list[int]], temperature: float
) -> None:
    requests = requests_for(prompts, temperature=temperature, seed=5)
    for request, each in zip(requests, sample(sampler, requests), strict=True):
        ids = request.prompt_ids + each.token_ids
        expected = logprobs_of(model, ids, temperature or 1.0)[len(request.prompt_ids) - 1 :]
        assert each.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_so_they_are_in_float32_but_for_rounding(policy: Policy, prompts: list[list[int]]) -> None:
    """Where a full pass in float32 differs from one in float64 by up to 7e-5 itself."""
    sampler = Sampler(policy.sampling_model(0), policy.end_ids)
    requests = requests_for(prompts, temperature=1.0, seed=5)
    for request, each in zip(requests, sample(sampler, requests), strict=True):
        ids = request.prompt_ids + each.token_ids
        expected = logprobs_of(policy.sampling_model(0), ids)[len(request.prompt_ids) - 1 :]
        assert each.logprobs == pytest.approx(expected.tolist(), abs=2e-4)


def test_requests_of_one_batch_have_temperatures_of_their_own(
    new_sampler: Callable[..., Sampler],
    sampler: Sampler,
    prompts: list[list[int]],
    greedy: list[list[int]],
) -> None:
    temperatures = [0.0, 1.0, 0.5, 0.0, 2.0, 0.0]
    requests = [
        SampleRequest(prompt, LENGTH, temperature, seed=3)
        for prompt, temperature in zip(prompts, temperatures, strict=True)
    ]
    completions = sample(sampler, requests)
    for n in (0, 3, 5):
        assert completions[n].token_ids == greedy[n]
    for n in (1, 2, 4):
        alone = new_sampler()
        assert sample(alone, [requests[n]])[0].token_ids == completions[n].token_ids


@pytest.mark.parametrize("temperature", [0.02, 1e-6, 1e-40])
@pytest.mark.parametrize("seed", [0, ALMOST_ONE])
def test_a_temperature_near_zero_is_nearly_greedy(
    sampler: Sampler, prompts: list[list[int]], temperature: float, seed: int
) -> None:
    [best] = sample(sampler, requests_for(prompts[:1], max_tokens=1))
    [completion] = sample(
        sampler, requests_for(prompts[:1], max_tokens=1, temperature=temperature, seed=seed)
    )
    assert math.isfinite(completion.logprobs[0])
    assert completion.token_ids == best.token_ids


def test_frequencies_are_the_models_probabilities(
    model: Any, sampler: Sampler, prompts: list[list[int]]
) -> None:
    draws = 2000
    requests = [SampleRequest(prompts[1], 1, 2.0, seed) for seed in range(draws)]
    counts = torch.zeros(model.config.vocab_size)
    for each in sample(sampler, requests):
        counts[each.token_ids[0]] += 1
    with torch.no_grad():
        logits = model(torch.tensor([prompts[1]])).logits[0, -1]
    expected = torch.softmax(logits / 2.0, dim=-1)
    spread = (expected * (1 - expected) / draws).sqrt()
    assert ((counts / draws - expected).abs() < 5 * spread + 2 / draws).all()


@pytest.fixture(scope="module")
def free(model: Any, prompts: list[list[int]]) -> list[int]:
    """What comes where nothing ends a completion but its limit."""
    [completion] = sample(Sampler(model, end_ids=[]), requests_for(prompts[:1]))
    assert len(completion.token_ids) == len(completion.logprobs) == LENGTH
    assert not completion.ended
    return completion.token_ids


@pytest.mark.parametrize("max_tokens", [1, 2, 7])
def test_a_completion_is_cut_at_its_limit(
    model: Any, prompts: list[list[int]], free: list[int], max_tokens: int
) -> None:
    endless = Sampler(model, end_ids=[])
    [completion] = sample(endless, requests_for(prompts[:1], max_tokens=max_tokens))
    assert completion.token_ids == free[:max_tokens]
    assert not completion.ended


@pytest.mark.parametrize("places", [[4], [8, 4], [8, 2], [LENGTH - 1]])
def test_each_of_several_end_ids_ends_a_completion(
    model: Any, prompts: list[list[int]], free: list[int], places: list[int]
) -> None:
    ends = [free[place] for place in places]
    [completion] = sample(Sampler(model, ends), requests_for(prompts[:1]))
    assert completion.token_ids == free[: min(map(free.index, ends)) + 1]
    assert completion.ended


def test_an_end_in_the_last_token_allowed_is_an_end(
    model: Any, prompts: list[list[int]], free: list[int]
) -> None:
    [completion] = sample(Sampler(model, [free[0]]), requests_for(prompts[:1], max_tokens=1))
    assert completion.ended


def test_after_an_abort_nothing_is_left(
    sampler: Sampler, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    sample(sampler, requests_for(prompts[:1]))
    sampler.admit(requests_for(prompts))
    sampler.step()
    sampler.abort()
    assert sampler.active == 0
    before = sampler.stats.prefilled_tokens
    assert tokens(sample(sampler, requests_for(prompts[:1]))) == greedy[:1]
    assert sampler.stats.prefilled_tokens - before == len(prompts[0])


def test_a_sampler_without_room_for_caches_samples_the_same(
    new_sampler: Callable[..., Sampler], prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    sampler = new_sampler(prefix_bytes=0)
    for _ in range(2):
        assert tokens(sample(sampler, requests_for(prompts[:2]))) == greedy[:2]
    assert sampler.stats.prefilled_tokens == 2 * (len(prompts[0]) + len(prompts[1]))


def test_a_step_without_a_request_is_a_mistake(sampler: Sampler) -> None:
    with pytest.raises(RuntimeError, match="no request"):
        sampler.step()


def prefix(*ids: int) -> Prefix:
    """The cache of a conversation: 8 bytes a token."""
    return Prefix(list(ids), torch.zeros((1, 2, 1, len(ids), 1)))


def reach(store: PrefixStore, *ids: int) -> int:
    best = store.best(list(ids))
    return best[1] if best else 0


def test_the_longest_common_start_is_found() -> None:
    store = PrefixStore(1000)
    for ids in ((1, 2, 3), (1, 2, 4, 5), (7,)):
        store.put(prefix(*ids))
    assert [reach(store, *ids) for ids in ((1, 2, 4, 9), (1, 2, 3, 4), (1,), (7, 7), (8,))] == [
        3,
        3,
        1,
        1,
        0,
    ]


def test_a_grown_conversation_replaces_what_it_grew_from() -> None:
    store = PrefixStore(8 * 8)
    store.put(prefix(9, 9, 9))
    for length in range(1, 6):
        store.put(prefix(*range(1, length + 1)))
    assert reach(store, 9, 9, 9) == 3
    assert reach(store, 1, 2, 3, 4, 5) == 5


def test_the_least_recently_used_goes_first() -> None:
    store = PrefixStore(8 * 6)
    store.put(prefix(1, 1))
    store.put(prefix(2, 2))
    assert reach(store, 1, 1) == 2
    store.put(prefix(3, 3, 3))
    assert [reach(store, *ids) for ids in ((1, 1), (2, 2), (3, 3, 3))] == [2, 0, 3]


def test_the_store_stays_within_its_bytes() -> None:
    limit, held = 8 * 100, []
    store = PrefixStore(limit)
    for number in range(60):
        ids = [number, *range(number % 17)]
        held.append(prefix(*ids))
        store.put(held[-1])
        kept = [each.nbytes for each in held if reach(store, *each.ids) == len(each.ids)]
        assert 0 < sum(kept) <= limit


def test_a_conversation_beyond_the_limit_is_not_kept() -> None:
    store = PrefixStore(8 * 2)
    store.put(prefix(1, 2, 3))
    assert store.best([1, 2, 3]) is None


def test_a_cleared_store_is_empty() -> None:
    store = PrefixStore(1000)
    store.put(prefix(1, 2))
    store.clear()
    assert store.best([1, 2]) is None
