"""Hosted models beside our own: ``--pipeline eval`` on a server that plays models of known
behaviour, and its rollouts scored again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from environment.email_search.rewards import VERDICTS
from environment.email_search.scenarios import read_scenarios
from steps.model_versions import data_artifacts
from tests.fakes.chat_server import ChatServer
from tests.fakes.hosted_models import SLOW_S, HostedModels, by_question, judges
from tests.pipelines.conftest import SMALL, Ended, Finished, Project, settings
from training.evaluation.compare import read_rows

N = 4
AT_SERVER = ("right", "wrong", "wordy", "slow", "limited", "refuses", "filtered", "broken")
FAILS = {"limited": "rate_limit", "refuses": "refused", "filtered": "refused"} | {
    "broken": "bad_request"
}


@pytest.fixture(scope="module")
def server(finished: Finished) -> Iterator[HostedModels]:
    scenarios = read_scenarios(data_artifacts("email_search")["scenarios"].load())
    with HostedModels(by_question(scenarios)) as served:
        yield served


@pytest.fixture(scope="module")
def judge() -> Iterator[ChatServer]:
    with ChatServer(judges) as served:
        yield served


def models(server: HostedModels, *names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": n, "model": n, "api_base": server.base_url} | more for n in names]


def evaluate(project: Project, name: str, entries: list[Any], *values: str, **more: str) -> Ended:
    given = settings(*SMALL, f"evaluation.models={json.dumps(entries)}", *values)
    version = ("--model-version", "1")
    return project.run("--pipeline", "eval", "--name", name, *version, *given, **more)


def evaluation_of(project: Project, name: str) -> dict[str, Any]:
    return json.loads((project.folder / "runs" / name / "summary.json").read_text())["eval"]


def table_of(project: Project, name: str) -> dict[str, dict[str, Any]]:
    """The rows of the table by policy; of our own policies the sampled one."""
    rows = evaluation_of(project, name)["table"]
    return {row["policy"]: row for row in rows if row["mode"] == "sampled"}


@pytest.fixture(scope="module")
def compared(project: Project, finished: Finished, server: HostedModels) -> Ended:
    entries = models(server, *AT_SERVER, usd_per_million_in=1.0, usd_per_million_out=2.0)
    entries.append({"name": "mini", "model": "openai/gpt-4.1-mini"})
    entries.append({"name": "first", "version": 1})
    ended = evaluate(
        project,
        "compared",
        entries,
        "evaluation.usd_per_hour=2",
        OPENAI_API_KEY="k",
        OPENAI_API_BASE=server.base_url,
    )
    assert ended.code == 0, ended.out + ended.err
    return ended


def test_every_model_is_in_one_table(compared: Ended, project: Project) -> None:
    table = table_of(project, "compared")
    assert table.keys() - {"incumbent"} == {"base", "trained", "first", "mini", *AT_SERVER}
    printed = compared.out[compared.out.rindex("eval: completed") :]
    for label in table:
        assert f"              {label} " in printed
    assert "cites" in printed
    assert table["first"]["success"] == table["trained"]["success"]
    assert table["mini"]["model"] == "openai/gpt-4.1-mini"
    assert all(row["scenarios"] == row["at_once"] == N for row in table.values())


def test_what_a_model_does_is_what_its_row_says(compared: Ended, project: Project) -> None:
    table = table_of(project, "compared")
    assert [table[m]["success"] for m in ("right", "wrong", "slow", "mini")] == [1, 0, 1, 1]
    assert [table[m]["source_accuracy"] for m in ("right", "wrong", "mini")] == [1, None, 0]
    assert [table[m]["turns"] for m in ("right", "wrong", "mini")] == [2, 1, 1]
    assert table["slow"]["seconds_p99"] >= table["slow"]["seconds_p50"] >= 2 * SLOW_S
    assert table["right"]["seconds_p50"] < SLOW_S


def test_a_model_that_fails_is_counted_by_reason_and_never_wrong(
    compared: Ended, project: Project
) -> None:
    table = table_of(project, "compared")
    for model, reason in FAILS.items():
        assert table[model]["errors"] == {reason: N}
        assert table[model]["success"] is table[model]["seconds_p50"] is None
        assert f"{N} {reason}" in compared.out
    assert all(not row["errors"] for label, row in table.items() if label not in FAILS)


def test_what_a_model_costs_is_counted_from_its_replies(compared: Ended, project: Project) -> None:
    rows = read_rows(project.folder / "runs" / "compared" / "evaluation.parquet")
    table = table_of(project, "compared")
    assert table["right"]["usd_per_1000"] > table["wrong"]["usd_per_1000"] > 0
    assert table["mini"]["usd_per_1000"] > 0  # at the price that LiteLLM knows
    assert table["trained"]["usd_per_1000"] > 0
    [right] = [r for r in rows if r.policy == "right"][:1]
    assert right.cost_usd is not None
    assert right.tokens * 1e-6 < right.cost_usd < right.tokens * 2e-6


def test_the_report_shows_every_model(compared: Ended, project: Project) -> None:
    report = (project.folder / "runs" / "compared" / "evaluation.html").read_text()
    for words in (
        "right, sampled",
        "4 rate_limit",
        "errors only",
        "at once",
        "USD per 1,000",
        f"right<small>{VERDICTS['right']}</small>",
    ):
        assert words in report
    assert "Judge and match" not in report


@pytest.fixture(scope="module")
def rescored(compared: Ended, project: Project, server: HostedModels) -> Ended:
    requests_before = len(server.requests)
    ended = project.run(
        "--pipeline", "eval", "--rescore", "compared", "--name", "again", *settings(*SMALL)
    )
    assert ended.code == 0, ended.out + ended.err
    assert len(server.requests) == requests_before
    return ended


def test_stored_rollouts_scored_again_give_the_same_table(
    rescored: Ended, project: Project
) -> None:
    before, after = (evaluation_of(project, name) for name in ("compared", "again"))
    assert before.pop("decision") != after.pop("decision")
    assert after == before
    assert "not promoted: rescored rollouts of an earlier evaluation" in rescored.out


def test_rollouts_are_scored_again_with_a_judge(
    compared: Ended, project: Project, server: HostedModels, judge: ChatServer
) -> None:
    copied = project.folder / "somewhere.parquet"
    shutil.copy(project.folder / "runs" / "compared" / "evaluation.parquet", copied)
    requests_before = len(server.requests)
    ended = project.run(
        "--pipeline", "eval", "--rescore", str(copied), "--name", "judged",
        *settings(*SMALL, *judged_by(judge, "judge")),
    )  # fmt: skip
    assert ended.code == 0, ended.out + ended.err
    assert len(server.requests) == requests_before
    table = table_of(project, "judged")
    assert table["wordy"]["success"] == table["right"]["success"] == 1
    # The judge gave no verdict: neither right nor wrong.
    assert table["wrong"]["success"] is None
    assert table["wrong"]["errors"] == {"judge_failed": N}
    assert table["limited"]["errors"] == {"rate_limit": N}


def judged_by(judge: ChatServer, correctness: str) -> tuple[str, ...]:
    return (
        f"evaluation.correctness={correctness}",
        "judge.model=openai/judge",
        f"judge.api_base={judge.base_url}",
    )


def test_judge_and_match_are_compared(
    compared: Ended, project: Project, server: HostedModels, judge: ChatServer
) -> None:
    before = len(judge.requests)
    entries = models(server, "right", "wordy", "wrong")
    ended = evaluate(project, "both", entries, *judged_by(judge, "both"))
    assert ended.code == 0, ended.out + ended.err
    table, agreement = table_of(project, "both"), evaluation_of(project, "both")["judge"]
    # The match decides, so a judge without a verdict changes nothing.
    assert [table[m]["success"] for m in ("right", "wordy", "wrong")] == [1, 0, 0]
    assert table["wrong"]["errors"] == {}
    assert agreement["failed"] == {"judge_failed": N}
    assert agreement["only_judge"] >= N
    assert 0 < agreement["share"] < 1
    assert -1 <= agreement["kappa"] <= 1
    assert "judge and match agree on" in ended.out
    report = (project.folder / "runs" / "both" / "evaluation.html").read_text()
    assert "beyond any reasonable doubt" in report
    # Each answer is asked about once (and again where there was no verdict), however many gave it.
    answered = {
        (row.question, row.answer)
        for row in read_rows(project.folder / "runs" / "both" / "evaluation.parquet")
        if row.answer is not None
    }
    assert len(judge.requests) - before == len(answered) + N


def test_several_samples_of_each_scenario_give_pass_at_k(
    compared: Ended, project: Project, server: HostedModels
) -> None:
    requests_before = len(server.requests)
    ended = evaluate(project, "samples", models(server, "plain"), "evaluation.samples=3")
    assert ended.code == 0, ended.out + ended.err
    assert len(server.requests) == requests_before + 3 * N
    table = table_of(project, "samples")
    for policy in ("base", "trained", "plain"):
        assert [p["k"] for p in table[policy]["pass_at_k"]] == [1, 2, 3]
        assert (table[policy]["scenarios"], table[policy]["rollouts"]) == (N, 3 * N)
        assert f"{policy} " in ended.out[ended.out.index("pass@1") :]
    assert table["plain"]["pass_at_k"][2]["mean"] == 1
    assert "pass@3" in (project.folder / "runs" / "samples" / "evaluation.html").read_text()
    # The first sample of each is the one that an evaluation without samples takes.
    first, only = (
        [
            (row.policy, row.mode, row.scenario_id, row.answer, row.tokens)
            for row in read_rows(project.folder / "runs" / name / "evaluation.parquet")
            if row.policy in ("base", "trained") and row.sample == 0
        ]
        for name in ("samples", "compared")
    )
    assert first == only


def test_a_budget_that_is_spent_stops_the_asking_and_is_told(
    compared: Ended, project: Project, server: HostedModels
) -> None:
    priced = {"usd_per_million_in": 1e6, "usd_per_million_out": 1e6, "concurrency": 1}
    requests_before = len(server.requests)
    entries = models(server, "right", "wrong", **priced)
    ended = evaluate(project, "budget", entries, "evaluation.max_cost_usd=1")
    assert ended.code == 0, ended.out + ended.err
    # One reply has spent it all: nothing else is asked.
    assert len(server.requests) == requests_before + 1
    table = table_of(project, "budget")
    assert table["right"]["errors"] == table["wrong"]["errors"] == {"budget": N}
    assert table["trained"]["success"] is not None
    assert "evaluation.max_cost_usd (1) is spent: 4 of 4 rollouts of right" in ended.out


REFUSED = {
    "a model without a key": (
        ["evaluation.models=[{name: o3, model: openai/o3}]"],
        "the model openai/o3 needs OPENAI_API_KEY",
    ),
    "a provider that nobody knows": (
        ["evaluation.models=[{name: o3, model: opnai/o3}]"],
        "LiteLLM knows no provider for the model opnai/o3",
    ),
    "a bound on a cost that nobody knows": (
        [
            "evaluation.models=[{name: own, model: own, api_base: 'http://127.0.0.1:9/v1'}]",
            "evaluation.max_cost_usd=1",
        ],
        "the price of own is unknown",
    ),
    "a judge without a key": (["evaluation.correctness=both"], "needs OPENAI_API_KEY"),
    "a version that is not there": (
        ["evaluation.models=[{name: other, version: 99}]"],
        "there is no version 99 of email-agent",
    ),
    "a name that is taken": (
        ["evaluation.models=[{name: base, model: openai/o3}]"],
        "base, trained, incumbent are reserved for our own policies",
    ),
    "a model that is two things": (
        ["evaluation.models=[{name: x, model: openai/o3, version: 1}]"],
        "set either model, a LiteLLM name, or version",
    ),
    "settings of a hosted model for a version": (
        ["evaluation.models=[{name: x, version: 1, temperature: 0.5}]"],
        "a version of ours takes only a name",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused_before_any_work(
    case: str, project: Project, finished: Finished
) -> None:
    values, fault = REFUSED[case]
    ended = project.run("--pipeline", "eval", "--name", "refused", *settings(*SMALL, *values))
    assert ended.code == 2
    (line,) = ended.message.splitlines()
    assert fault in line


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--pipeline", "eval", "--rescore", "nothing"], "neither a run nothing"),
        (["--pipeline", "eval", "--rescore", "run.py"], "run.py holds no evaluation"),
        (["--pipeline", "train", "--rescore", "x"], "--rescore: only with --pipeline eval"),
    ],
)
def test_what_cannot_be_scored_again_is_refused(
    arguments: list[str], fault: str, project: Project, finished: Finished
) -> None:
    ended = project.run(*arguments, "--name", "refused")
    assert ended.code == 2
    assert fault in ended.message.splitlines()[-1]
    assert "Traceback" not in ended.out + ended.err
