from pathlib import Path

import pytest
from pydantic import ValidationError

from environment.email_search.config import EmailDataConfig, EmailSearchConfig


def test_the_defaults_need_nothing():
    assert EmailDataConfig().source == "sample"
    assert EmailSearchConfig().name == "email_search"


@pytest.mark.parametrize("source", ["maildir", "mbox"])
def test_a_source_of_files_needs_a_path(source):
    with pytest.raises(ValidationError, match=f"source {source} needs path"):
        EmailDataConfig(source=source)


def test_scenarios_of_a_file_need_a_path():
    with pytest.raises(ValidationError, match="scenarios: file needs scenarios_path"):
        EmailDataConfig(scenarios="file")


@pytest.mark.parametrize(
    ("source", "scenarios", "resolved"),
    [
        ("sample", "auto", "sample"),
        ("hub", "auto", "hub"),
        ("maildir", "auto", "synthesise"),
        ("mbox", "auto", "synthesise"),
        ("hub", "synthesise", "synthesise"),
        ("maildir", "file", "file"),
        ("maildir", "hub", "hub"),
    ],
)
def test_auto_takes_the_scenarios_that_fit_the_source(source, scenarios, resolved):
    here = Path()
    config = EmailDataConfig(source=source, scenarios=scenarios, path=here, scenarios_path=here)
    assert config.scenario_source == resolved


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (EmailDataConfig, "source", "imap"),
        (EmailDataConfig, "train_inboxes", 0),
        (EmailDataConfig, "mails_per_inbox", 19),
        (EmailDataConfig, "max_recipients", 0),
        (EmailDataConfig, "typo", 1),
        (EmailSearchConfig, "max_hits", 11),
        (EmailSearchConfig, "max_hits", 0),
        (EmailSearchConfig, "snippet_words", 0),
        (EmailSearchConfig, "name", "other"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(config, field, value):
    with pytest.raises(ValidationError, match=field):
        config(**{field: value})


def test_a_path_may_begin_at_home() -> None:
    config = EmailDataConfig.model_validate({"source": "mbox", "path": "~/mail.mbox"})
    assert config.path == Path.home() / "mail.mbox"
