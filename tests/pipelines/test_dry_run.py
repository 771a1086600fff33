from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import run as command
from pipelines.config import load_config
from pipelines.dry_run import SECTIONS, lines
from pipelines.readiness import keys_needed, not_ready, requested_gpus
from tests.pipelines.conftest import CONFIGS, KEYS, ROOT, Project, settings

# What a configuration is for, by the beginning of its name; all pipelines where it is none of these.
MADE_FOR = {"data": "data", "training": "train", "evaluation": "eval", "deployment": "deploy"}
LOCAL = ROOT / "configs" / "training_local.yaml"


def parts_of(pipeline: str) -> tuple[str, ...]:
    return command.PIPELINES[pipeline] or (pipeline,)


def shown(file: Path | None, pipeline: str, *changes: str) -> str:
    config = load_config([file] if file else [], changes)
    return "\n".join(lines(config, pipeline, parts_of(pipeline)))


def files(folder: Path) -> dict[Path, float]:
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def keyless(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_shipped_configuration_dry_runs(file: Path) -> None:
    made_for = MADE_FOR.get(file.stem.partition("_")[0], "all")
    for pipeline in {made_for, "all"}:
        text = shown(file, pipeline)
        assert text.startswith(f"{pipeline}: a dry run; nothing is started")
        assert all(f"\n{part}\n" in text for part in parts_of(pipeline))


@pytest.mark.parametrize("pipeline", command.PIPELINES)
def test_every_pipeline_of_the_command_line_has_a_dry_run(pipeline: str) -> None:
    assert set(parts_of(pipeline)) <= SECTIONS.keys()
    assert shown(None, pipeline)


def test_a_dry_run_touches_nothing_and_ends_well(project: Project, tmp_path: Path) -> None:
    before = files(project.folder)
    ended = project.run_anew("--pipeline", "all", "--dry-run", "--config", str(LOCAL))
    assert ended.code == 0, ended.err
    assert "not ready here" in ended.out
    unused = project.run(
        "--pipeline", "all", "--dry-run", "--name", "never", ZENML_CONFIG_PATH=str(tmp_path / "no")
    )
    assert unused.code == 0, unused.err
    assert "default (ZenML has not been used here yet)" in unused.out
    assert unused.out.rstrip().endswith("ready")
    assert not (tmp_path / "no").exists()
    output = {path for path in files(project.folder) if path.name.startswith("tmp")}
    assert files(project.folder).keys() - output == before.keys() - output


def test_a_configuration_that_is_wrong_is_still_refused(project: Project) -> None:
    ended = project.run("--pipeline", "train", "--dry-run", *settings("training.max_step=1"))
    assert ended.code == 2
    assert "did you mean max_steps?" in ended.message


def test_it_says_how_many_rollouts_there_will_be_at_most() -> None:
    text = shown(
        ROOT / "configs" / "laptop.yaml", "all", "training.eval_every=50", "training.max_steps=120"
    )
    assert "at most 3,840 (120 steps of 4 groups of 8), 100 to validate" in text
    assert "at most 1,440 (240 held-out scenarios, greedy and sampled, of" in text
    text = shown(ROOT / "configs" / "laptop.yaml", "eval", "evaluation.samples=4")
    assert "at most 3,600 (240 held-out scenarios, greedy and sampled 4 times, of" in text


@pytest.mark.usefixtures("keyless")
def test_it_says_where_a_policy_is_trained_and_what_is_missing() -> None:
    text = shown(LOCAL, "train")
    assert "local (ART's LocalBackend: Unsloth and vLLM on this machine's GPUs)" in text
    assert "Qwen/Qwen2.5-7B-Instruct, LoRA rank 8" in text
    assert "openai/o4-mini, 40 groups, some 44 requests" in text
    assert "OPENAI_API_KEY       not set" in text
    assert "the environment variable OPENAI_API_KEY is not set" in text
    assert "needs a CUDA GPU; none is visible" in text


@pytest.mark.usefixtures("keyless")
def test_a_key_that_is_set_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    text = shown(LOCAL, "train")
    assert "OPENAI_API_KEY       set" in text
    assert "sk-very-secret" not in text


@pytest.mark.parametrize(
    ("changes", "pipeline", "keys"),
    [
        (["backend.kind=tinker"], "train", ["TINKER_API_KEY", "OPENAI_API_KEY"]),
        (["backend.kind=serverless"], "eval", ["WANDB_API_KEY"]),
        (["judge.model=mistral/x"], "train", ["MISTRAL_API_KEY"]),
        (["judge.api_base=http://h/v1"], "train", []),
        (["training.reward=verifiable"], "train", []),
        (["deployment.key=$SERVICE_KEY"], "deploy", ["SERVICE_KEY"]),
        (["backend.kind=tinker"], "data", []),
        (["data.scenarios=llm"], "data", ["OPENAI_API_KEY"]),
    ],
)
def test_the_keys_that_are_needed_are_named(
    changes: list[str], pipeline: str, keys: list[str]
) -> None:
    assert keys_needed(load_config([], changes), parts_of(pipeline)) == keys


PRICED = (
    "training.reward=verifiable",
    "training.budget.minutes=90",
    "training.budget.gpu_usd_per_hour=4",
    "settings.step_operator.pod_settings.resources.limits={nvidia.com/gpu: '2'}",
)


@pytest.mark.parametrize(
    ("changes", "bounds"),
    [
        (PRICED, ("at most 90", "at most 3", "at most 12")),
        ((*PRICED, "training.budget.gpu_hours=1"), ("at most 30", "at most 1", "at most 4")),
        ((*PRICED, "training.budget.cost_usd=5"), ("at most 90", "at most 3", "at most 5")),
        ((*PRICED, "training.reward=ruler"), ("at most 90", "at most 3", "no bound: set")),
        (
            (*PRICED, "training.reward=ruler", "judge.max_cost_usd=2"),
            ("at most 90", "at most 3", "at most 14"),
        ),
        (PRICED[:1], ("no bound: set", "no bound: set", "no bound: set")),
    ],
)
def test_bounds_follow_from_budgets_and_prices(
    changes: tuple[str, ...], bounds: tuple[str, ...]
) -> None:
    text = shown(LOCAL, "train", *changes)
    rows = {line[2:22].strip(): line[23:] for line in text.splitlines()}
    values = tuple(rows[name] for name in ("minutes", "GPU hours", "US dollars"))
    assert all(value.startswith(bound) for value, bound in zip(values, bounds, strict=True)), values


@pytest.mark.parametrize(
    ("changes", "gpus"),
    [
        (PRICED, 2),
        (["settings.resources.gpu_count=3"], 3),
        (["backend.kind=local"], 1),
        (["backend.kind=embedded"], 0),
        (["backend.kind=tinker"], 0),
    ],
)
def test_the_gpus_that_are_asked_for_are_counted(changes: Any, gpus: int) -> None:
    assert requested_gpus(load_config([], changes)) == gpus


@pytest.mark.usefixtures("keyless")
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (["backend.kind=tinker"], "TINKER_API_KEY is not set"),
        (
            ["backend.kind=embedded", "backend.base_model=./none"],
            "the model ./none: there is no such folder",
        ),
        (["backend.kind=tinker"], "tinker cannot serve an adapter from a file"),
        (["training.budget.cost_usd=1"], "training.budget.gpu_usd_per_hour"),
        (["data.source=mbox", "data.path=/no/mails"], "data.path: there is no /no/mails"),
    ],
)
def test_what_would_fail_is_told_once(changes: list[str], fault: str) -> None:
    faults = not_ready(load_config([], changes), parts_of("all"))
    assert sum(fault in message for message in faults) == 1


@pytest.mark.usefixtures("keyless")
def test_a_step_that_a_cluster_runs_needs_no_gpu_here() -> None:
    text = shown(ROOT / "configs" / "training_k8s.yaml", "train")
    assert "train_agent          step operator gpu" in text
    assert "nvidia.com/gpu 1" in text
    assert "needs a CUDA GPU" not in text


@pytest.mark.usefixtures("keyless")
def test_models_to_compare_with_are_named_with_their_keys_and_their_bound() -> None:
    text = shown(ROOT / "configs" / "evaluation_models.yaml", "eval")
    assert "o3, gpt-4.1-mini, claude-sonnet" in text
    assert "at most 20 (hosted models)" in text
    assert "ANTHROPIC_API_KEY    not set" in text


def test_a_judge_without_a_price_is_told_where_dollars_are_bounded() -> None:
    changes = ["backend.kind=embedded", "backend.base_model=models/pocket", "backend.device=cpu"]
    changes += ["judge.model=openai/mine", "judge.api_base=http://h/v1"]
    assert not_ready(load_config([], changes), ("train",)) == []
    (fault,) = not_ready(load_config([], [*changes, "training.budget.cost_usd=1"]), ("train",))
    assert "the price of openai/mine is unknown" in fault


def test_where_programs_would_run_is_said() -> None:
    text = shown(ROOT / "configs" / "code_cpu.yaml", "train", "environment.sandbox.workers=3")
    assert "isolated; 3 programs at once, each at most 5 s and 256 MiB" in text
