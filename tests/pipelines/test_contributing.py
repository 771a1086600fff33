"""CONTRIBUTING's environment through the command line: a folder and a configuration suffice."""

from __future__ import annotations

import json

from tests.pipelines.conftest import Project
from tests.test_contributing import printed


def test_its_data_is_made_it_is_trained_and_evaluated(project: Project) -> None:
    folder = project.folder / "environment" / "guess"
    folder.mkdir()
    (folder / "__init__.py").write_text(printed("python"))
    (project.folder / "configs" / "guess.yaml").write_text(printed("yaml"))
    ended = project.run_anew(
        "--pipeline", "all", "--name", "guess", "--config", "configs/guess.yaml"
    )
    assert ended.code == 0, ended.out + ended.err
    summary = json.loads((project.folder / "runs" / "guess" / "summary.json").read_text())
    assert summary["data"]["numbers"] == {"train": 20, "test": 20}
    assert summary["train"]["steps"] == 3
    assert summary["train"]["trained"] > 0
    assert summary["eval"]["scenarios"] == 20
    report = (project.folder / "runs" / "guess" / "report.html").read_text()
    assert "Which number is it?" in report

    refused = project.run("--pipeline", "deploy", "--config", "configs/guess.yaml")
    assert refused.code == 2
    assert "guess" in refused.message
