"""The examples as a user runs them: programs, with a service of their own or one that runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.scripted_models import ScriptedModels, quality
from service.folders import Folders
from service.locks import holder
from service.states import Status
from service.store import Store
from tests.fakes.judge_server import JudgeServer, good

from .conftest import PATIENCE_S, ROOT, StartService, until

MATH, SUMMARIES = "examples/simple_math_agent.py", "examples/text_summarization_agent.py"
TOKEN = "a-token-of-the-tests"
# Empty, they stand over this machine's .env.
_NOTHING = ("OPENAI_API_KEY", "WANDB_API_KEY")
STEP = re.compile(r"step +(\d+)/\d+ +reward [\d.]+ +trained +(\d+) of 32")


@contextmanager
def running(example: str, *options: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, ROOT / example, *options],
        cwd=ROOT.parent,  # anywhere
        env=os.environ | dict.fromkeys(_NOTHING, "") | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def run(example: str, *options: str, rc: int = 0) -> str:
    """What an example prints."""
    with running(example, *options) as process:
        output, _ = process.communicate(timeout=3 * PATIENCE_S)
    assert process.returncode == rc, output
    return output


def trained_in_steps(output: str) -> list[tuple[int, int]]:
    return [(int(step), int(trained)) for step, trained in STEP.findall(output)]


def test_the_math_agent_trains_and_is_evaluated_on_sums_held_out(tmp_path: Path) -> None:
    options = ("--steps", "2", "--sums", "60", "--folder", str(tmp_path / "own"))
    output = run(MATH, *options, "--model-name", "m")
    assert [step for step, _ in trained_in_steps(output)] == [1, 2]
    assert all(trained for _, trained in trained_in_steps(output))
    held_out = re.search(r"success rate on (\d+) held-out sums", output)
    assert held_out
    assert 5 <= int(held_out[1]) <= 30
    assert re.search(r"^base +0\.\d{3} +0\.\d{3}$", output, re.MULTILINE)
    assert re.search(r"^trained +0\.\d{3} +0\.\d{3}$", output, re.MULTILINE)
    assert re.search(r"^gain [+-]0\.\d{3} sampled, 95% interval", output, re.MULTILINE)
    store = Store(Folders(tmp_path / "own" / "data").database)
    job = store.newest("examples", "m")
    store.close()
    assert job is not None
    assert job.status is Status.SUCCEEDED


def test_the_math_agent_trains_on_a_service_that_runs(start_service: StartService) -> None:
    service = start_service({"ART_SERVICE_TOKEN": TOKEN})
    options = ("--url", service.url, "--steps", "1", "--sums", "40", "--model-name", "m")
    assert "the service refused: 401" in run(MATH, *options, rc=1)
    output = run(MATH, *options, "--token", TOKEN)
    assert "own" not in output
    assert len(trained_in_steps(output)) == 1
    assert service.client.status("examples", "m").status is Status.SUCCEEDED


def test_summaries_without_a_key_have_scripted_models_and_say_so(tmp_path: Path) -> None:
    options = ("--steps", "2", "--texts", "12", "--folder", str(tmp_path))
    output = run(SUMMARIES, *options)
    assert "judge and writer are SCRIPTED" in output
    assert "openai/scripted wrote 12 texts in 2 requests" in output
    assert [step for step, _ in trained_in_steps(output)] == [1, 2]
    assert all(trained for _, trained in trained_in_steps(output))
    scores = [float(s) for s in re.findall(r"^  (\d\.\d\d)  [\w ]+:", output, re.MULTILINE)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert scores[-1] < 0.1


def test_summaries_of_own_texts_on_a_service_that_runs(start_service: StartService) -> None:
    with ScriptedModels() as models:
        service = start_service(judge={"api_base": models.base_url})
        output = run(
            SUMMARIES,
            *("--url", service.url, "--data", "own", "--steps", "1"),
            *("--judge-model", "openai/scripted", "--model-name", "m"),
        )
        prompts = str(models.requests)
    assert "8 texts from this example" in output
    assert "SCRIPTED" not in output
    assert "The harbor is closed for two days" in prompts
    assert service.client.model("examples", "m").jobs[0].step == 1


def test_a_job_that_fails_fails_its_example(start_service: StartService) -> None:
    with JudgeServer(good) as judge:  # to whom no summary is of any quality
        service = start_service(
            judge={"api_base": judge.base_url}, training={"empty_steps_limit": 1}
        )
        options = ("--data", "own", "--judge-model", "openai/judge")
        output = run(SUMMARIES, "--url", service.url, *options, rc=1)
    assert re.search(r"^job [0-9a-f]{32} failed: .*nothing to train on", output, re.MULTILINE)


def test_an_address_where_nobody_answers_is_said() -> None:
    output = run(MATH, "--url", "http://127.0.0.1:9", rc=1)
    assert "the service at http://127.0.0.1:9 cannot be reached" in output
    assert "Traceback" not in output


def test_whoever_ends_an_example_ends_its_service_and_its_worker(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "data")

    def workers() -> list[int]:
        locks = (folders.root / "runs").glob("*.lock")
        return [pid for lock in locks if (pid := holder(lock))]

    with running(MATH, "--steps", "10000", "--folder", str(tmp_path)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if STEP.match(line):
                break
        assert workers()
        service = holder(folders.service_lock)
        assert service
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=3 * PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM
    until(lambda: not workers() and holder(folders.service_lock) is None)


TEXT = "The market is closed for two days because of a storm. It opens again on Monday."


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("The market is closed because of a storm.", TEXT + " " + TEXT),
        ("The market is closed because of a storm.", "The market is"),
        ("The market is closed because of a storm.", "Bananas are closed because yellow storms do"),
        ("The market", ""),
    ],
)
def test_the_scripted_judge_likes_short_summaries_in_the_texts_words(
    better: str, worse: str
) -> None:
    assert 1 >= quality(TEXT, better)[0] > quality(TEXT, worse)[0] >= 0
