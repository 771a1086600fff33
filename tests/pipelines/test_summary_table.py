from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.launch import training_summary
from pipelines.summary_table import lines

SHARES = {"sampled": 0.5, "greedy": 0.25}
SUMMARY: dict[str, Any] = {
    "pipeline": "all",
    "status": "completed",
    "seconds": {"data": 1.2, "train": 34.0, "eval": None},
    "peak_rss_mib": 712.34,
    "data": {
        "database": {"stored": 1240, "skipped": {"no date": 2, "duplicate": 1}},
        "scenarios": {"train": 75, "test": 72},
    },
    "train": {
        "steps": 2,
        "trajectories": 16,
        "trained": 8,
        "dropped": {"zero_variance": 7, "timeout": 1},
        "probs_corr_min": 0.99912,
        "stopped_by": "converged",
    },
    "eval": {
        "scenarios": 6,
        "base": SHARES,
        "trained": {"sampled": 0.75, "greedy": 1.0},
        "difference": {"mean": 0.25, "low": -0.1, "high": 0.5},
        "confidence": 0.9,
        "decision": "not promoted: why not",
    },
}
NOTHING = {"data": None, "train": None, "eval": None}


def text_of(**changes: Any) -> str:
    return "\n".join(lines(SUMMARY | changes, Path("runs/demo")))


def test_every_part_is_shown() -> None:
    text = text_of()
    for part in (
        "all: completed, data 1 s, train 34 s, peak memory 712 MiB",
        "database    1,240 stored",
        "2 left out: no date",
        "scenarios   75 to train on, 72 held out",
        "2 steps (ended by converged), 8 of 16 rollouts trained on, lowest probs_corr 0.9991",
        "7 left out: zero_variance",
        "held out    6 scenarios",
        "base         0.500     0.250",
        "trained      0.750     1.000",
        "+0.250",
        "90% interval -0.100 to +0.500",
        "not promoted: why not",
        "details     runs/demo/",
    ):
        assert part in text
    assert "incumbent" not in text


def test_an_incumbent_stands_between_base_and_trained() -> None:
    text = text_of(eval=SUMMARY["eval"] | {"incumbent": SHARES})
    assert text.index("base  ") < text.index("incumbent  ") < text.index("trained  ")


def test_what_did_not_run_is_left_out() -> None:
    text = text_of(**NOTHING)
    assert len(text.strip().splitlines()) == 2


def test_a_run_that_never_trained_has_no_correlation() -> None:
    assert "lowest probs_corr none" in text_of(train=SUMMARY["train"] | {"probs_corr_min": None})


def record(**changes: Any) -> dict[str, Any]:
    return {
        "data/dropped": {"zero_variance": 3},
        "data/step_num_trajectories": 8,
        "data/step_trained_trajectories": 5,
        "loss/probs_corr": 0.9999,
        "train/reward": 0.5,
        "train/success": 0.25,
    } | changes


def test_a_training_is_summed_up_over_its_steps() -> None:
    empty = record(**{"data/dropped": {"timeout": 2, "zero_variance": 6}, "train/reward": 0.75})
    del empty["loss/probs_corr"]
    assert training_summary([record(), empty]) == {
        "steps": 2,
        "trajectories": 16,
        "trained": 10,
        "dropped": {"zero_variance": 9, "timeout": 2},
        "probs_corr_min": 0.9999,
        "judge": None,
        "reward_first": 0.5,
        "reward_last": 0.75,
        "success_first": 0.25,
        "success_last": 0.25,
    }


def test_a_training_without_steps_has_a_summary() -> None:
    summary = training_summary([])
    assert (summary["steps"], summary["dropped"], summary["probs_corr_min"]) == (0, {}, None)
    assert summary["reward_first"] is summary["reward_last"] is None


def test_what_a_run_says_of_its_judge_is_shown() -> None:
    judge = {
        "agreement": 0.756,
        "consistency": None,
        "failed_groups": 2,
        "requests": 1200,
        "cached": 30,
        "usd": 0.123456,
    }
    text = text_of(train=SUMMARY["train"] | {"judge": judge})
    assert (
        "judge       rank correlation with the environment's own reward +0.76, 2 groups not "
        "judged, 1,200 requests, 30 from the cache, 0.1235 USD"
    ) in text
    unpriced = text_of(train=SUMMARY["train"] | {"judge": judge | {"usd": None}})
    assert "cost unknown" in unpriced
    assert "judge  " not in text_of()


def line_of(policy: str, **changes: Any) -> dict[str, Any]:
    return {
        "policy": policy,
        "mode": "sampled",
        "model": "",
        "scenarios": 6,
        "samples": 1,
        "pass_at_k": [],
        "success": 0.5,
        "success_low": 0.25,
        "success_high": 0.75,
        "source_accuracy": 1.0,
        "turns": 2.5,
        "seconds_p50": 0.125,
        "seconds_p99": 1.5,
        "at_once": 8,
        "usd_per_1000": None,
        "errors": {},
    } | changes


def test_other_models_have_lines_of_their_own() -> None:
    nothing = dict.fromkeys(("success", "success_low", "success_high", "source_accuracy"))
    table = [
        line_of("trained"),
        line_of("o3", usd_per_1000=55.19, errors={"rate_limit": 2, "refused": 1}),
        line_of("gone", **nothing),
    ]
    text = text_of(eval=SUMMARY["eval"] | {"table": table})
    head = next(line for line in text.splitlines() if "policy" in line)
    for column in ("success", "90% interval", "cites", "p50 s", "p99 s", "at once", "USD/1,000"):
        assert column in head
    assert "trained  sampled  0.500    0.25 to 0.75  1.00   2.5    0.12   1.50" in text
    assert "55.19      2 rate_limit, 1 refused" in text
    assert "gone     sampled  -        -             -" in text
    short = text_of(eval=SUMMARY["eval"] | {"table": table[:1]})
    assert short == text_of()


def test_what_only_failed_has_a_dash_for_its_success() -> None:
    failed = {"trained": {"sampled": None, "greedy": 1.0}, "difference": None}
    text = text_of(eval=SUMMARY["eval"] | failed)
    assert "trained      -         1.000" in text
    assert "difference" not in text


def test_the_agreement_of_judge_and_match_is_told() -> None:
    agreement = {"share": 0.9, "kappa": None, "answers": 1200, "failed": {"a": 2, "b": 1}}
    text = text_of(eval=SUMMARY["eval"] | {"judge": agreement})
    assert "judge and match agree on 90.0% of 1,200 answers, kappa -; 3 without a verdict" in text


def test_without_sources_nothing_is_said_of_them() -> None:
    table = [line_of("trained", source_accuracy=None), line_of("o3", source_accuracy=None)]
    text = text_of(
        data={"scenarios": {"train": 60, "test": 30}}, eval=SUMMARY["eval"] | {"table": table}
    )
    for word in ("cites", "mail", "inbox"):
        assert word not in text
    assert "o3       sampled  0.500    0.25 to 0.75  2.5    0.12" in text


def pass_at(k: int, mean: float, left_out: int = 0) -> dict[str, Any]:
    estimate = {"k": k, "mean": mean, "low": mean - 0.1, "high": mean + 0.1}
    return estimate | {"scenarios": 6 - left_out, "left_out": left_out}


def test_samples_give_a_line_of_pass_at_k_for_every_policy() -> None:
    base = [pass_at(1, 0.25), pass_at(2, 0.375), pass_at(3, 0.5)]
    trained = [pass_at(1, 0.5), pass_at(2, 0.75, left_out=2)]
    table = [
        line_of("base", samples=3, pass_at_k=base),
        line_of("base", mode="greedy"),
        line_of("trained", samples=3, pass_at_k=trained),
        line_of("trained", mode="greedy"),
    ]
    shown = text_of(eval=SUMMARY["eval"] | {"table": table}).splitlines()
    assert "held out    6 scenarios, 3 sampled rollouts of each" in shown
    head = next(n for n, line in enumerate(shown) if "pass@" in line)
    assert shown[head].split() == ["pass@1", "pass@2", "pass@3"]
    assert shown[head + 1].split(maxsplit=1) == [
        "base",
        "0.250 (0.15 to 0.35)  0.375 (0.28 to 0.47)  0.500 (0.40 to 0.60)",
    ]
    assert shown[head + 2].endswith("0.500 (0.40 to 0.60)  0.750 (0.65 to 0.85)  -")
    assert "2 scenarios of trained have fewer than 2 rollouts without an error" in shown[head + 3]
    assert "pass@" not in text_of(eval=SUMMARY["eval"] | {"table": [line_of("trained")]})
