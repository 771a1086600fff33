from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environment.code.config import CodeConfig, CodeDataConfig
from environment.email_search.config import EmailDataConfig, EmailSearchConfig
from environment.prompt_task.config import PromptTaskConfig, PromptTaskDataConfig
from pipelines.config import ConfigError, load_config, parse_config
from tests.pipelines.conftest import CONFIGS, ROOT

Write = Callable[[str, str], Path]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.name)
def test_every_shipped_configuration_loads(file: Path) -> None:
    config = load_config([file])
    kinds: dict[str, tuple[type, type]] = {
        "code": (CodeConfig, CodeDataConfig),
        "prompt": (PromptTaskConfig, PromptTaskDataConfig),
    }
    environment, data = kinds.get(file.name.partition("_")[0], (EmailSearchConfig, EmailDataConfig))
    assert isinstance(config.environment, environment)
    assert isinstance(config.data, data)


def test_the_local_profile_is_the_one_that_was_asked_for() -> None:
    config = load_config([ROOT / "configs" / "training_local.yaml"])
    training = config.training
    assert config.backend.base_model == "Qwen/Qwen2.5-7B-Instruct"
    assert (training.groups_per_step, training.rollouts_per_group, training.max_steps) == (2, 4, 20)
    assert (training.learning_rate, training.reward) == (1e-5, "ruler")
    assert config.judge.model == "openai/o4-mini"


def test_the_default_profile_needs_no_key_and_no_network() -> None:
    config = load_config([ROOT / "configs" / "laptop.yaml"])
    assert (config.data.source, config.training.reward) == ("sample", "verifiable")
    assert (config.backend.kind, config.backend.base_model) == ("embedded", "models/pocket")


def test_without_any_file_the_defaults_stand() -> None:
    config = load_config([])
    assert config.model_dump() == parse_config({}).model_dump()
    assert config.project == "art-rl"


def test_later_files_and_settings_win_key_by_key(write: Write) -> None:
    first = write("a.yaml", "training: {max_steps: 5, learning_rate: 0.1, budget: {minutes: 3}}")
    second = write("b.yaml", "training: {max_steps: 7}\nproject: mine")
    config = load_config(
        [first, second], ["training.max_steps=9", "training.budget.minutes=4", "project=ours"]
    )
    assert (config.training.max_steps, config.training.learning_rate) == (9, 0.1)
    assert (config.training.budget.minutes, config.project) == (4, "ours")
    assert load_config([second, first]).training.max_steps == 5


def test_an_empty_file_changes_nothing(write: Write) -> None:
    config = load_config([write("empty.yaml", "# nothing\n")])
    assert config.model_dump() == load_config([]).model_dump()


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("training.scale_rewards=false", "training", "scale_rewards", False),
        ("training.learning_rate=1.0e-3", "training", "learning_rate", 0.001),
        ("training.learning_rate=1e-3", "training", "learning_rate", 0.001),
        ("judge.model=openai/o4-mini", "judge", "model", "openai/o4-mini"),
        ("judge.api_base=http://h:1/v1?a=b", "judge", "api_base", "http://h:1/v1?a=b"),
        ("training.train_scenarios=null", "training", "train_scenarios", None),
        ("data.path=mails/mine", "data", "path", Path("mails/mine")),
    ],
)  # fmt: skip
def test_a_setting_is_read_as_yaml(setting: str, section: str, key: str, value: Any) -> None:
    assert getattr(getattr(load_config([], [setting]), section), key) == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainig.max_steps=1", "unknown key trainig: did you mean training?"),
        ("training.max_step=1", "unknown key training.max_step: did you mean max_steps?"),
        (
            "training.budget.minuts=1",
            "unknown key training.budget.minuts: did you mean minutes?",
        ),
        ("backend.lora.rang=1", "unknown key backend.lora.rang: did you mean rank?"),
        (
            "environment.max_hit=1",
            "unknown key environment.max_hit: did you mean max_hits?",
        ),
        ("data.train_inbox=1", "unknown key data.train_inbox: did you mean train_inboxes?"),
        ("training.xyzzy=1", "unknown key training.xyzzy: known keys: budget, "),
        ("xyzzy=1", "unknown key xyzzy: known keys: backend, data, deployment, environment, "),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_name(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config([], [setting])
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.max_steps=many", "training.max_steps: "),
        ("training.max_steps=-1", "training.max_steps: "),
        ("training.max_steps=1.5", "training.max_steps: "),
        ("training.rollouts_per_group=1", "training.rollouts_per_group: "),
        ("training.loss=dpo", "training.loss: "),
        ("training=5", "training: "),
        ("training.budget.minutes=0", "training.budget.minutes: "),
        ("backend.lora=[1]", "backend.lora: "),
        ("backend.kind=gpu", "backend.kind: "),
        ("project=../up", "project: "),
        ("model_name=a b", "model_name: "),
        ("environment.max_hits=11", "environment.max_hits: "),
        ("data.source=maildir", "data: source maildir needs path"),
        ("evaluation.confidence=95", "evaluation.confidence: "),
        ("environment=[]", "environment"),
        ("environment=5", "environment.name: no environment '5'; available: "),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_key(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config([], [setting])
    assert str(refused.value).startswith(message)
    assert "pydantic" not in str(refused.value)


def test_a_value_that_does_not_fit_is_shown() -> None:
    with pytest.raises(ConfigError, match=r"\(got 'many'\)"):
        load_config([], ["training.max_steps=many"])


@pytest.mark.parametrize("setting", ["training.max_steps", "=1", "", "no equals sign"])
def test_a_setting_without_key_or_value_is_told(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"write it as section\.key=value"):
        load_config([], [setting])


@pytest.mark.parametrize("value", ["[1, 2", "{a: ", "'open", "*alias", "a: b: c"])
def test_a_setting_that_is_no_yaml_is_told(value: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.max_steps"):
        load_config([], [f"training.max_steps={value}"])


@pytest.mark.parametrize("text", ["training: [", "a: b: c", "\t- x", "'open", "--- a\n--- b\n"])
def test_a_file_that_is_no_yaml_is_told(write: Write, text: str) -> None:
    file = write("bad.yaml", text)
    with pytest.raises(ConfigError, match=r"bad\.yaml is not YAML"):
        load_config([file])


def test_a_binary_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match=r"bad\.yaml is not YAML"):
        load_config([tmp_path / "bad.yaml"])


@pytest.mark.parametrize("text", ["- a list", "just text", "7"])
def test_a_file_without_sections_is_told(write: Write, text: str) -> None:
    with pytest.raises(ConfigError, match=r"bad\.yaml must hold sections"):
        load_config([write("bad.yaml", text)])


@pytest.mark.parametrize("text", ["1: 2", "true: {max_steps: 3}", "training: {1: 2}"])
def test_a_key_that_is_no_text_is_told(write: Write, text: str) -> None:
    with pytest.raises(ConfigError):
        load_config([write("odd.yaml", text)])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml: No such file"):
        load_config([tmp_path / "none.yaml"])


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config([tmp_path])


@pytest.mark.parametrize("raw", [{"environment": {"name": "chess"}}, {"environment": "chess"}])
def test_an_unknown_environment_is_told_with_those_there_are(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no environment 'chess'; available: .*email_search"):
        parse_config(raw)


def test_an_unknown_key_in_a_list_is_told_with_the_one_that_was_meant() -> None:
    entry = {"name": "o3", "modle": "openai/o3"}
    with pytest.raises(ConfigError, match=r"evaluation\.models\.0\.modle: did you mean model\?"):
        parse_config({"evaluation": {"models": [entry]}})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "a"}], "set either model, a LiteLLM name, or version"),
        ([{"name": "a b", "version": 1}], "should match pattern"),
        ([{"name": "a", "version": 1}, {"name": "a", "version": 2}], "two models have the same"),
        ([{"name": "a", "model": "b", "usd_per_million_in": 1}], "set both usd_per_million_in"),
        ([{"name": "trained", "version": 1}], "are reserved for our own policies"),
    ],
)
def test_models_to_compare_with_that_make_no_sense_are_told(
    entries: list[Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"evaluation": {"models": entries}})


def test_the_models_to_compare_with_survive_being_a_steps_parameter() -> None:
    config = load_config([ROOT / "configs" / "evaluation_models.yaml"]).evaluation
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    assert [one.name for one in config.hosted] == ["o3", "gpt-4.1-mini", "claude-sonnet"]
