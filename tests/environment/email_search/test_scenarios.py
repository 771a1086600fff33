import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from environment.email_search.scenarios import ScenarioError, parse_row, read_scenarios, select
from environment.jsonl import write_jsonl

from .builders import scenario

ROW = {
    "id": 7,
    "question": "When is the review?",
    "answer": "Monday",
    "message_ids": ["<1@x>"],
    "how_realistic": 0.5,
    "inbox_address": "ann@x.com",
    "query_date": "2001-05-14",
    "split": "train",
}
LINE = json.dumps(ROW)
FIELDS = ("id", "question", "answer", "message_ids", "inbox_address", "query_date", "split")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "scenarios.jsonl"


# Reading


def test_a_row_of_the_questions_schema_becomes_a_scenario(file):
    file.write_text(json.dumps(ROW | {"a_column_of_its_own": 1}) + "\n\n")
    (read,) = read_scenarios(file)
    assert read.model_dump() == ROW | {"id": "7", "message_ids": ("<1@x>",), "kind": ""}


def test_scenarios_come_back_as_they_were_written(file):
    scenarios = [scenario(n, question='Who said "é\u2028\n😀"?', kind="date") for n in range(3)]
    write_jsonl(file, scenarios)
    assert read_scenarios(file) == scenarios


@given(
    question=st.text(min_size=1),
    answer=st.text(min_size=1),
    how_realistic=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_survives_writing_and_reading(tmp_path_factory, question, answer, how_realistic):
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    written = scenario(1, question=question, answer=answer, how_realistic=how_realistic)
    write_jsonl(file, [written])
    assert read_scenarios(file) == [written]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_an_error_that_names_it(file, content):
    file.write_text(content)
    with pytest.raises(ScenarioError, match=r"scenarios\.jsonl holds no scenario"):
        read_scenarios(file)


def test_a_missing_file_is_an_error_that_names_it(file, tmp_path):
    for path in (file, tmp_path):
        with pytest.raises(ScenarioError, match=f"cannot read {path}"):
            read_scenarios(path)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "not json",
        LINE[:-1],
        LINE + LINE,
        "\ufeff{}",
        "[" * 100_000,
        "1" * 5_000,
        "null",
        "[]",
        "3",
        '"text"',
    ],
    ids=lambda line: ascii(line)[:20],
)
def test_a_line_that_is_no_json_object_is_an_error_that_names_the_line(file, line):
    file.write_text(f"{LINE}\n{line}\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"scenarios\.jsonl, line 2: "):
        read_scenarios(file)


@pytest.mark.parametrize(
    "content", [LINE.encode("utf-16"), b'{"question": "caf\xe9"}', bytes(range(256))]
)
def test_a_file_that_is_no_utf8_text_is_an_error_that_names_it(file, content):
    file.write_bytes(content)
    with pytest.raises(ScenarioError, match=r"scenarios\.jsonl"):
        read_scenarios(file)


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_an_error_that_names_line_and_field(file, field):
    row = {name: value for name, value in ROW.items() if name != field}
    file.write_text(f"{LINE}\n{json.dumps(row)}\n")
    with pytest.raises(ScenarioError, match=rf"line 2: {field}: Field required"):
        read_scenarios(file)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question", ""),
        ("question", None),
        ("answer", ""),
        ("answer", 5),
        ("message_ids", []),
        ("message_ids", "<1@x>"),
        ("inbox_address", ""),
        ("query_date", "14 May 2001"),
        ("query_date", "2001-02-30"),
        ("query_date", None),
        ("split", "validation"),
        ("how_realistic", "very"),
    ],
)
def test_a_wrong_field_is_an_error_that_names_place_and_field(field, value):
    with pytest.raises(ScenarioError, match=rf"^here: {field}"):
        parse_row(ROW | {field: value}, "here")


@pytest.mark.parametrize("field", ["question", "answer"])
def test_a_text_that_could_not_be_written_again_is_refused(file, field):
    file.write_text(json.dumps(ROW | {field: "half an emoji: \ud83d"}))
    with pytest.raises(ScenarioError, match=f"line 1: {field}"):
        read_scenarios(file)


def test_a_scenario_with_fields_it_does_not_know_is_a_mistake_in_code():
    with pytest.raises(ValidationError, match="colour"):
        scenario(1, colour="red")


# Selecting

KNOWN = frozenset(f"<{n}@x>" for n in range(1, 9))


def test_usable_scenarios_are_kept_in_their_order():
    scenarios = [scenario(3), scenario(1, split="test"), scenario(2)]
    kept, report = select(scenarios, KNOWN)
    assert kept == scenarios
    assert (report.train, report.test, report.skipped) == (2, 1, {})


def test_a_question_about_several_mails_is_left_out_and_counted():
    several = scenario(2, message_ids=("<2@x>", "<3@x>"))
    kept, report = select([scenario(1), several], KNOWN)
    assert kept == [scenario(1)]
    assert report.skipped == {"several_gold_mails": 1}


def test_a_question_about_a_mail_that_is_not_stored_is_left_out_and_counted():
    kept, report = select([scenario(1), scenario(99)], KNOWN)
    assert kept == [scenario(1)]
    assert report.skipped == {"gold_mail_not_in_database": 1}


def test_no_gold_mail_of_the_test_is_trained_on():
    shared = {"message_ids": ("<5@x>",)}
    train, test = scenario(1, **shared), scenario(2, split="test", **shared)
    kept, report = select([train, scenario(3), test], KNOWN)
    assert kept == [scenario(3), test]
    assert report.skipped == {"gold_mail_in_test": 1}


@given(
    st.lists(
        st.builds(
            scenario,
            st.integers(1, 12),
            split=st.sampled_from(["train", "test"]),
            message_ids=st.lists(
                st.integers(1, 12).map("<{}@x>".format), min_size=1, max_size=2
            ).map(tuple),
        ),
        max_size=20,
    )
)
def test_every_scenario_is_kept_or_counted_and_no_gold_mail_is_in_both_splits(scenarios):
    try:
        kept, report = select(scenarios, KNOWN)
    except ScenarioError:
        return
    assert len(kept) + sum(report.skipped.values()) == len(scenarios)
    assert len(kept) == report.train + report.test
    train, test = (
        {i for s in kept if s.split == split for i in s.message_ids} for split in ("train", "test")
    )
    assert train.isdisjoint(test)
    assert train | test <= KNOWN


@pytest.mark.parametrize(
    ("scenarios", "reason"),
    [([], "the input is empty"), ([scenario(99)], "1 gold_mail_not_in_database")],
)
def test_nothing_usable_is_an_error_that_says_why(scenarios, reason):
    with pytest.raises(ScenarioError, match=reason):
        select(scenarios, KNOWN)
