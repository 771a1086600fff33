from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.training.conftest import Finished
from tests.training.rows import comparison, row, rows, samples
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.promotion import Decision, decide
from training.evaluation.summaries import compare
from training.report import Sample, Version, evaluation_report, model_card, training_report
from training.run.run_log import STEP, Record

EVIL = "<script>alert('x')</script> \"quoted\" 'single' & <img src=http://evil.example/x.png>"
EVIL += " {{ title }} {% endblock %} {# gone #}"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would find: the tags with their attributes, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [], "a tag was left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_self_contained(source: str) -> Page:
    page = Page(source)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "a"}
    attributes = {name for _, held in page.tags for name in held}
    assert not attributes & {"src", "href", "srcset", "xlink:href", "action", "style-src"}
    assert not [name for name in attributes if name.startswith("on")]
    styles = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)
    assert not re.search(r"@import|url\(|http", "".join(styles))
    for svg in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        ET.fromstring(svg)
    return page


def record(step: int, **changes: Any) -> Record:
    return {
        STEP: step,
        "train/reward": 0.1 * step,
        "train/success": 0.05 * step,
        "data/step_num_trajectories": 8,
        "data/step_trained_trajectories": 4,
        "data/dropped": {"zero_variance": 3, "timeout": 1},
        "loss/entropy": 1.0 / step,
        "loss/probs_corr": 1 - 1e-4 * step,
    } | changes


def sample(scenario: str, text: str, **changes: Any) -> Sample:
    call = {"id": "1", "type": "function", "function": {"name": text, "arguments": text}}
    fields: dict[str, Any] = {
        "scenario_id": scenario,
        "question": text,
        "gold": text,
        "messages": [
            {"role": "system", "content": "the system prompt"},
            {"role": "user", "content": text},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": text},
        ],
        "reward": 1.25,
        "success": True,
        "reason": text,
    }
    return Sample(**fields | changes)


def evaluation(text: str = "plain") -> str:
    texts = dict.fromkeys(("kind", "question", "gold", "answer", "reason"), text)
    evaluated = [
        row(policy, f"q{n}", n % 2 == 0, mode, **texts, metrics={text: 1})
        for policy in ("base", "trained", "incumbent")
        for mode in ("sampled", "greedy")
        for n in range(4)
    ]
    compared = compare(evaluated, 0.95)
    return evaluation_report(
        text, compared, decide(compared), evaluated, {text: text}, {text: f"means {text}"}
    )


def test_the_report_of_a_run_stands_alone(finished: Finished) -> None:
    page = assert_self_contained(finished.output.report)
    assert (finished.folder / "report.html").read_text() == finished.output.report
    assert "Training run run" in page.text
    for label in ("3steps", "Reward", "Trained and left out", "training.learning_rate0.001"):
        assert label in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 3
    assert [tag for tag, _ in page.tags].count("details") == 3
    assert page.text.count("before") >= 3


def test_what_a_mail_says_stays_text() -> None:
    samples = [sample("a", EVIL), sample("b", EVIL)]
    source = training_report(
        EVIL, [record(1)], samples, samples[:1], {EVIL: {EVIL: EVIL}}, [EVIL], {EVIL: EVIL}
    )
    page = assert_self_contained(source)
    assert page.text.count(EVIL) >= 12
    assert ("span", {"class": "good", "title": EVIL}) in page.tags
    assert EVIL in unescape(source)


def test_what_a_question_says_stays_text() -> None:
    page = assert_self_contained(evaluation(EVIL))
    # Two failures with all their columns, and the meanings of a verdict and of a metric.
    assert page.text.count(EVIL) >= 2 * 4 + 2 * 2
    assert page.text.count(f"{EVIL}means {EVIL}") == 2


def test_what_a_decision_says_stays_text() -> None:
    source = evaluation_report(
        "t", comparison(base="+-", trained="++"), Decision(promote=True, reason=EVIL), [], {}
    )
    assert EVIL in assert_self_contained(source).text


def test_what_was_left_out_is_counted_by_reason() -> None:
    text = Page(training_report("t", [record(1), record(2)], [], [], {})).text
    assert "8 of 16 trajectories" in text
    for cells in ("zero_variance60.375", "timeout20.125", "0.9998lowest probs_corr"):
        assert cells in text


def test_nothing_left_out_is_said_too() -> None:
    source = training_report("t", [record(1, **{"data/dropped": {}})], [], [], {})
    assert "Nothing was left out." in Page(source).text


def test_a_run_without_steps_has_a_report() -> None:
    page = assert_self_contained(training_report("t", [], [], [], {}))
    assert "no data yet" in page.text
    assert "No samples were taken." in page.text


@pytest.mark.parametrize("records", [[record(1)], [record(1), record(2)]])
def test_steps_that_trained_on_nothing_have_a_report(records: list[Record]) -> None:
    for empty in records:
        empty.pop("loss/entropy", None)
        empty.pop("loss/probs_corr", None)
    page = assert_self_contained(training_report("t", records, [], [], {}))
    assert "nonelowest probs_corr" in page.text


def test_samples_stand_side_by_side_without_the_system_prompt() -> None:
    before = [sample("a", "first", success=False), sample("b", "second")]
    text = Page(training_report("t", [], before, [sample("a", "later")], {})).text
    assert text.index("first") < text.index("later") < text.index("second")
    assert text.count("before first") + text.count("before second") == 2
    assert text.count("after later") == 1
    assert "the system prompt" not in text


def test_an_evaluation_report_shows_every_policy_and_the_verdict() -> None:
    compared = compare([*rows("base", "+--+"), *rows("trained", "++++")], 0.9)
    evaluated = [row("trained", "q", False, "greedy", question="Which one?", answer="that one")]
    page = assert_self_contained(
        evaluation_report("Evaluation", compared, decide(compared), evaluated, {"run": "demo"})
    )
    for text in ("base", "trained", "90% interval", "trained - base", "0.500", "promoted", "demo"):
        assert text in page.text
    assert "Which one?May 3that onegave_up" in page.text


def test_an_evaluation_without_failures_says_so() -> None:
    compared = comparison(base="--", trained="++")
    source = evaluation_report("t", compared, decide(compared), rows("trained", "++", "greedy"), {})
    assert "Nothing, on these scenarios." in Page(source).text


@pytest.mark.parametrize(
    "line",
    [
        [],
        [(1, 0.5)],
        [(1, 0.0), (2, 0.0)],
        [(n, n % 7) for n in range(1, 501)],
        [(1, -1e9), (2, 1e9)],
        [(5, 0.1), (5, 0.9)],
    ],
)
def test_a_line_chart_is_well_formed_and_stays_in_its_frame(line: list[Any]) -> None:
    records = [record(step, **{"train/reward": reward}) for step, reward in line]
    source = training_report("t", records, [], [], {})
    assert_self_contained(source)
    for points in re.findall(r"points='([^']*)'", source):
        for point in points.split():
            across, down = map(float, point.split(","))
            assert 0 <= across <= 720
            assert 0 <= down <= 240


def test_a_line_chart_keeps_its_lines_apart() -> None:
    records = [judged(n, 0.5) | {"judge/consistency": 0.9} for n in range(1, 3)]
    source = training_report("t", records, [], [], {})
    (chart,) = re.findall(r"aria-label='rank correlation'.*?</svg>", source, re.DOTALL)
    assert chart.count("<polyline") == 4
    assert len(set(re.findall(r"<polyline[^>]*stroke='([^']*)'", chart))) == 2


def test_bars_are_well_formed_and_stay_in_their_frame() -> None:
    evaluated = [
        row(policy, f"q{n}", n >= wrong, kind=kind)
        for policy, wrong in {"base": 3, "trained": 0, "incumbent": 2}.items()
        for n, kind in enumerate([EVIL, "due", "due"])
    ]
    compared = compare(evaluated, 0.95)
    source = evaluation_report("t", compared, decide(compared), evaluated, {})
    assert_self_contained(source)
    bars = [float(width) for width in re.findall(r"<rect [^>]*width='([^']*)'", source)]
    assert bars == [1, 510, 1, 1, 510, 255]


def test_numbers_in_a_table_are_set_right() -> None:
    source = training_report("t", [record(1)], [], [], {"a": 3, "b": None})
    assert "<td>zero_variance</td><td class='n'>3</td><td class='n'>0.375</td>" in source
    assert "<td>a</td><td>3</td>" in source
    assert "<td>b</td><td>None</td>" in source


def test_the_models_page_shows_where_every_version_stands() -> None:
    gain = {"mean": 0.3, "low": 0.2, "high": 0.4}
    newest = {
        "run": EVIL,
        "step": 150,
        "base_model": EVIL,
        "data": {"database": "d1"},
        "evaluation": {"base": {"sampled": 0.5}, "trained": {"sampled": 0.8}},
        "gain_over_base": gain,
        "decision": EVIL,
    }
    source = model_card(
        EVIL,
        [
            Version(number=7, stage="production", created="2026-01-02", metadata=newest),
            Version(number=6, stage=None, created="2026-01-01", metadata={}),
        ],
    )
    page = assert_self_contained(source)
    assert EVIL in page.text
    for part in ("in production", "0.500", "0.800", "+0.300 (+0.200 to +0.400)", "not evaluated"):
        assert part in page.text
    assert "digest of database" in page.text


def judged(step: int, agreement: float) -> Record:
    counts = {"judge/failed_groups": 1, "judge/requests": 4, "judge/cached": 2}
    return record(step, **counts, **{"judge/faults": {EVIL: 1}, "judge/agreement": agreement})


def test_a_judged_run_says_how_far_to_trust_the_judge() -> None:
    source = training_report("t", [judged(n, 0.8) for n in range(1, 7)], [], [], {})
    page = assert_self_contained(source)
    for cells in ("0.80rank correlation with the environment", "24requests", "6groups not judged"):
        assert cells in page.text
    assert f"{EVIL}6" in page.text
    assert "Warning" not in page.text
    assert "Judge" not in Page(training_report("t", [record(1)], [], [], {})).text


def test_a_judge_that_ranks_otherwise_is_warned_of_in_the_report() -> None:
    source = training_report("t", [judged(n, -0.1) for n in range(1, 7)], [], [], {})
    assert "Warning: the judge disagrees" in assert_self_contained(source).text


def hosted_rows(label: str = "o3") -> list[EvaluationRow]:
    failed = {"error": "rate_limit", "reason": "rate_limit", "success": False}
    evaluated = rows(label, "++-+")
    evaluated[0] = evaluated[0].model_copy(update=failed)
    return [r.model_copy(update={"model": EVIL, "at_once": 8, "cost_usd": 0.02}) for r in evaluated]


def report_of(evaluated: list[EvaluationRow]) -> Page:
    compared = compare(evaluated, 0.95)
    return assert_self_contained(evaluation_report("t", compared, decide(compared), evaluated, {}))


def test_every_model_stands_in_the_chart_and_in_the_table() -> None:
    names = [f"model-{n}" for n in range(5)]
    evaluated = [
        *rows("base", "+--+"),
        *rows("trained", "++++"),
        *rows("trained", "++++", "greedy"),
    ]
    page = report_of([*evaluated, *(r for name in names for r in hosted_rows(name))])
    for name in names:
        assert f"{name}, sampled" in page.text
        assert f"{name}sampled0.6670.208 to 0.939" in page.text
        assert f"{name}sampled{EVIL}443000.667" in page.text
    for words in ("trained, greedy", "1 rate_limit", "20.000", "trained - model-4"):
        assert words in page.text


def test_a_model_that_only_failed_has_a_line_without_a_point() -> None:
    failed = [r.model_copy(update={"error": "refused"}) for r in hosted_rows()]
    page = report_of([*rows("base", "+--+"), *rows("trained", "++++"), *failed])
    assert "o3, samplederrors only" in page.text
    assert "4 refused" in page.text


def test_points_and_intervals_stay_in_the_chart() -> None:
    evaluated = [*rows("base", "----"), *rows("trained", "++++")]
    compared = compare(evaluated, 0.99)
    source = evaluation_report("t", compared, decide(compared), evaluated, {})
    assert_self_contained(source)
    ends = [float(x) for x in re.findall(r"(?:x[12]|cx)='([\d.]+)'", source)]
    assert {190.0, 660.0} <= set(ends)
    assert all(190 <= x <= 660 for x in ends)


def test_answers_on_which_judge_and_match_differ_are_listed() -> None:
    evaluated = [*rows("base", "+--+"), *rows("trained", "++++")]
    assert "Judge and match" not in report_of(evaluated).text
    judged = [r.model_copy(update={"judged": True, "matched": True}) for r in evaluated]
    assert "They differ on no answer." in report_of(judged).text
    judged[2] = judged[2].model_copy(update={"matched": False, "answer": EVIL})
    judged[3] = judged[3].model_copy(update={"judged": None, "judge_error": "judge_failed"})
    text = report_of(judged).text
    assert f"When?May 3{EVIL}rightwrong" in text
    assert "85.7%both say the same" in text
    assert "1without a verdict: judge_failed" in text


def test_every_way_to_end_has_its_share_and_every_error_its_number() -> None:
    evaluated = [*rows("base", "+---"), *rows("trained", "+++-"), *hosted_rows()]
    text = report_of(evaluated).text
    assert "right0.250 (0.046 to 0.699)0.750 (0.301 to 0.954)" in text
    assert "error: rate_limit001" in text
    assert text.index("right0.250") < text.index("gave_up0.750") < text.index("error: rate_limit")


def test_verdicts_and_metrics_stand_with_what_they_mean() -> None:
    evaluated = [*rows("base", "+-"), *rows("trained", "++")]
    compared = compare(evaluated, 0.95)
    meanings = {"right": "as it should be", "source_recall": "of all", "unheard_of": "never seen"}
    source = evaluation_report("t", compared, decide(compared), evaluated, {}, meanings)
    assert "<td>right<small>as it should be</small></td>" in source
    assert "<td>source recall<small>of all</small></td>" in source
    assert "<td>gave_up</td>" in source
    assert "never seen" not in source


def test_metrics_stand_in_a_table_with_their_intervals() -> None:
    seen = [row("base", f"q{n}", False, metrics={"in_doubt": n % 2, "never": 0}) for n in range(4)]
    without = [row("trained", f"q{n}", True, metrics={}) for n in range(4)]
    text = report_of([*seen, *without]).text
    assert "in doubt0.500 (0.000 to 1.000)-" in text
    assert "never" not in text
    without = [r.model_copy(update={"metrics": {}}) for r in without]
    assert "What the environment measured" not in report_of(without).text


def test_several_samples_are_told_by_pass_at_k() -> None:
    evaluated = [
        *samples("base", "+---", "----", "-!--"),
        *samples("trained", "++--", "++++", "+---"),
    ]
    page = report_of(evaluated)
    for words in ("pass@1", "pass@2", "pass@4", "samples"):
        assert words in page.text
    assert "base40.083" in page.text
    assert "left out: 1 of 3 at k = 4 of base." in page.text
    assert "counts alike, however often it was sampled" in page.text
    assert "pass@" not in report_of([*rows("base", "+-"), *rows("trained", "++")]).text


def test_sources_are_spoken_of_only_where_there_are_any() -> None:
    assert "ource accuracy" in report_of([*rows("base", "+-"), *rows("trained", "++")]).text
    bare = [
        r.model_copy(update={"metrics": {}, "cites_source": None}) for r in rows("trained", "++")
    ]
    assert "ource" not in report_of(bare).text


def test_kinds_are_shown_where_there_are_several() -> None:
    evaluated = rows("trained", "++")
    assert "by kind" not in report_of(evaluated).text
    evaluated[0] = evaluated[0].model_copy(update={"kind": "phone"})
    assert "Sampled success by kind of scenario" in report_of(evaluated).text


@pytest.mark.parametrize(
    ("gold", "shown"),
    [
        ("May 3", "<span class='role'>expected: May 3</span></summary>"),
        (
            "def f():\n    return 1",
            "</summary><div class='role'>expected</div><pre>def f():\n    return",
        ),
    ],
)
def test_what_was_expected_stands_where_it_fits(gold: str, shown: str) -> None:
    assert shown in training_report("t", [], [sample("a", "x", gold=gold)], [], {})
    assert "expected" not in training_report("t", [], [sample("a", "x", gold="")], [], {})
