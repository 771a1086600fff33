from __future__ import annotations

import math
import random
from typing import Any

import art
import pytest
import torch
from openai import OpenAI

from backends.embedded.policy import Policy
from backends.packing import (
    NoTokens,
    advantages,
    pack_groups,
    rows_of,
    sampled_tokens,
    training_rows,
)
from backends.trajectory import ExactTrajectory
from tests.backends.pocket import QUESTIONS, Served, choice, trajectory


def written(row: Any) -> list[int]:
    return [token for token, is_written in zip(row.ids, row.written, strict=True) if is_written]


def test_a_turn_that_extends_the_row_is_appended_to_it() -> None:
    turns = [
        choice([1, 2], [3, 4], [-0.1, -0.2]),
        choice([1, 2, 3, 4, 5], [6], [-0.3]),
        choice([1, 2, 3, 4, 5, 6], [7], [-0.4]),
    ]
    [row] = rows_of(turns)
    assert row.ids == [1, 2, 3, 4, 5, 6, 7]
    assert row.written == [0, 0, 1, 1, 0, 1, 1]
    assert [x for x in row.logprobs if not math.isnan(x)] == [-0.1, -0.2, -0.3, -0.4]
    assert [math.isnan(x) for x in row.logprobs] == [not w for w in row.written]


@pytest.mark.parametrize(
    "prompt", [[1, 2, 3, 9, 5], [1, 2, 3], [1, 2], [9]], ids=["retold", "cut", "again", "other"]
)
def test_a_turn_that_does_not_extend_the_row_begins_a_new_one(prompt: list[int]) -> None:
    rows = rows_of([choice([1, 2], [3, 4]), choice(prompt, [6]), choice([*prompt, 6, 7], [8])])
    assert [row.ids for row in rows] == [[1, 2, 3, 4], [*prompt, 6, 7, 8]]
    assert [written(row) for row in rows] == [[3, 4], [6, 8]]


def test_rows_of_a_real_conversation_hold_exactly_what_was_sampled(served: Served) -> None:
    client = OpenAI(base_url=served.base_url, api_key="none")
    messages: list[Any] = [{"role": "user", "content": QUESTIONS[0]}]
    turns = []
    for turn in range(4):
        reply = client.chat.completions.create(
            model="pocket",
            messages=messages,
            temperature=1,
            seed=turn,
            max_tokens=16,
            logprobs=True,
            extra_body={"return_token_ids": True},
        )
        body = reply.choices[0].model_dump() | {"prompt_token_ids": reply.prompt_token_ids}
        turns.append(type(reply.choices[0]).model_validate(body))
        messages += [
            {"role": "assistant", "content": reply.choices[0].message.content},
            {"role": "user", "content": "And then?"},
        ]
    rows, sampled = rows_of(turns), [sampled_tokens(turn) for turn in turns]
    assert [t for row in rows for t in written(row)] == [t for _, ids, _ in sampled for t in ids]
    logprobs_in_rows = [x for row in rows for x in row.logprobs if not math.isnan(x)]
    assert logprobs_in_rows == [x for _, _, logprobs in sampled for x in logprobs]
    assert rows[-1].ids == sampled[-1][0] + sampled[-1][1]


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (choice(None, [3], [-0.1]), "lacks prompt_token_ids"),
        (choice([1], None, [-0.1]), "lacks prompt_token_ids"),
        (choice([1], [], []), "lacks prompt_token_ids"),
        (choice([1], [3], []), "lacks prompt_token_ids"),
        (choice([1], [3, 4], [-0.1]), "2 token ids but 1 logprobs"),
    ],
    ids=["no prompt ids", "no token ids", "no tokens", "no logprobs", "too few logprobs"],
)
def test_a_turn_without_its_tokens_is_refused(turn: Any, text: str) -> None:
    with pytest.raises(NoTokens, match=text):
        rows_of([choice([1], [2]), turn])


@pytest.mark.parametrize(
    ("rewards", "scale", "expected"),
    [
        ([1.0, 0.0], True, [1.0, -1.0]),
        ([1.0, 0.0], False, [0.5, -0.5]),
        ([3.0, 0.0, 0.0], True, [math.sqrt(2), -1 / math.sqrt(2), -1 / math.sqrt(2)]),
        ([3.0, 0.0, 0.0], False, [2.0, -1.0, -1.0]),
        ([-2.0, 1.2, 0.3, 1.4], False, [-2.225, 0.975, 0.075, 1.175]),
        ([0.5], True, [0.0]),
    ],
)
def test_advantages_are_relative_to_the_group(
    rewards: list[float], scale: bool, expected: list[float]
) -> None:
    relative = advantages(rewards, scale)
    assert relative == pytest.approx(expected, abs=5e-6)
    assert sum(relative) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, -1.7])
@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("scale", [True, False])
def test_equal_rewards_are_no_advantage(reward: float, size: int, scale: bool) -> None:
    assert advantages([reward] * size, scale) == [0.0] * size


def pack(policy: Policy, *groups: list[art.Trajectory], **options: Any) -> Any:
    return pack_groups(
        [art.TrajectoryGroup(group) for group in groups], policy.tokenizer, **options
    )


def rows_in(packed: Any) -> list[list[int]]:
    """The ids of each row without its padding, in an order of their own."""
    lengths = (packed["parent_ids"] != -1).sum(dim=1)
    return sorted(
        ids[:length].tolist() for ids, length in zip(packed["tokens"], lengths, strict=True)
    )


def test_packed_tensors_hold_the_rows_and_padding(policy: Policy) -> None:
    good = trajectory(1.0, choice([11, 12], [13], [-0.25]), choice([11, 12, 13, 14], [15], [-0.75]))
    packed = pack(policy, [good, trajectory(0.0, choice([11, 12], [16]))])
    assert rows_in(packed) == [[11, 12, 13, 14, 15], [11, 12, 16]]
    row = int((packed["tokens"][:, 2] == 13).nonzero())
    assert packed["assistant_mask"][row].tolist() == [False, False, True, False, True]
    assert packed["logprobs"][row].nan_to_num(9).tolist() == [9, 9, -0.25, 9, -0.75]
    assert packed["input_pos"][row].tolist() == [0, 1, 2, 3, 4]
    assert not packed["assistant_mask"][1 - row, 3:].any()


def test_every_trajectory_weighs_the_same(policy: Policy) -> None:
    """However many tokens and rows it has."""
    long = trajectory(1.0, choice([11], range(20, 50)), choice([12], range(50, 60)))
    packed = pack(policy, [long, trajectory(0.0, choice([13], [14]))])
    short, weights = packed["tokens"][:, 0] == 13, packed["weights"]
    assert float(weights[short].sum()) == pytest.approx(float(weights[~short].sum()), rel=1e-4)
    assert float((packed["advantages"] * weights).sum()) == pytest.approx(0, abs=1e-4)


def test_advantages_keep_their_proportions_and_signs(policy: Policy) -> None:
    rewards = {21: 3.0, 22: 0.0, 23: 1.0}
    packed = pack(
        policy, [trajectory(r, choice([10], [t])) for t, r in rewards.items()], scale_rewards=False
    )
    advantage_of = dict(
        zip(packed["tokens"][:, 1].tolist(), packed["advantages"][:, 1].tolist(), strict=True)
    )
    mean = sum(rewards.values()) / 3
    for token, reward in rewards.items():
        assert advantage_of[token] / advantage_of[21] == pytest.approx(
            (reward - mean) / (3.0 - mean), rel=1e-5
        )
    assert advantage_of[21] > 0


def test_a_trajectory_at_its_groups_mean_is_left_out(policy: Policy) -> None:
    group = [trajectory(reward, choice([11], [20 + i])) for i, reward in enumerate([0.0, 0.5, 1.0])]
    assert rows_in(pack(policy, group)) == [[11, 20], [11, 22]]


@pytest.mark.parametrize("rewards", [[], [1.0], [1.0, 1.0], [0.1, 0.1, 0.1]], ids=str)
def test_nothing_is_packed_where_no_reward_differs(policy: Policy, rewards: list[float]) -> None:
    group = [trajectory(reward, choice([11], [20 + i])) for i, reward in enumerate(rewards)]
    assert pack(policy, group) is None
    assert pack(policy) is None


def test_all_turns_of_all_histories_are_packed(policy: Policy) -> None:
    several = trajectory(1.0, choice([11], [12]))
    several.additional_histories.append(
        art.trajectories.History(messages_and_choices=[choice([13], [14])])
    )
    several.additional_histories.append(
        art.trajectories.History(messages_and_choices=[{"role": "user", "content": "hi"}])
    )
    assert [row.ids for row in training_rows(several)] == [[11, 12], [13, 14]]
    packed = pack(policy, [several, trajectory(0.0, choice([15], [16]))])
    assert rows_in(packed) == [[11, 12], [13, 14], [15, 16]]


@pytest.mark.parametrize(("round_to", "width"), [(1, 7), (4, 8), (7, 7), (64, 64)])
def test_the_width_is_rounded_up(policy: Policy, round_to: int, width: int) -> None:
    group = [trajectory(1.0, choice([11], range(20, 26))), trajectory(0.0, choice([11], [12]))]
    assert pack(policy, group, round_to=round_to)["tokens"].shape == (2, width)


def test_a_row_that_is_too_long_is_an_error(policy: Policy) -> None:
    group = [trajectory(1.0, choice([11], range(20, 26))), trajectory(0.0, choice([11], [12]))]
    assert pack(policy, group, max_tokens=7) is not None
    with pytest.raises(ValueError, match="a row of 7 tokens where 6 fit"):
        pack(policy, group, max_tokens=6)


def test_a_turn_without_tokens_is_an_error_of_the_whole_pack(policy: Policy) -> None:
    with pytest.raises(NoTokens):
        pack(policy, [trajectory(1.0, choice([11], None)), trajectory(0.0, choice([11], [12]))])


def test_advantages_can_be_balanced_towards_the_good(policy: Policy) -> None:
    group = [trajectory(1.0, choice([11], [21])), trajectory(0.0, choice([11], [22]))]
    packed = pack(policy, group, advantage_balance=0.5)
    by_token = {
        int(ids[1]): float(values[1])
        for ids, values in zip(packed["tokens"], packed["advantages"], strict=True)
    }
    assert by_token[22] == pytest.approx(-0.5 * by_token[21], rel=1e-5)


def test_rows_that_were_matched_once_are_packed_as_they_are(policy: Policy) -> None:
    turns = [choice([11], [21, 22]), choice([11, 21, 22, 5], [23])], [choice([11], [24])]
    group = [trajectory(float(n), *each) for n, each in enumerate(turns)]
    exact = [
        ExactTrajectory(
            messages_and_choices=one.messages_and_choices,
            reward=one.reward,
            rows=training_rows(one),
        )
        for one in group
    ]

    def in_order(trajectories: list[Any]) -> Any:
        random.seed(0)  # ART shuffles the rows
        return pack(policy, trajectories)

    together = art.TrajectoryGroup(exact)
    for one, grouped in zip(exact, together.trajectories, strict=True):
        assert isinstance(grouped, ExactTrajectory)
        assert grouped.rows is one.rows, "and ART copies none of them"
        assert "rows" not in grouped.model_dump()
    packed, again = in_order(group), in_order(exact)
    assert rows_in(again) == rows_in(packed)
    for name in ("tokens", "assistant_mask", "logprobs", "advantages", "weights"):
        assert torch.equal(packed[name].nan_to_num(9), again[name].nan_to_num(9))


def test_rows_that_nobody_has_matched_yet_are(policy: Policy) -> None:
    group = [trajectory(1.0, choice([11], [21])), trajectory(0.0, choice([11], [22]))]
    exact = [
        ExactTrajectory(messages_and_choices=one.messages_and_choices, reward=one.reward)
        for one in group
    ]
    assert rows_in(pack(policy, exact)) == [[11, 21], [11, 22]]
