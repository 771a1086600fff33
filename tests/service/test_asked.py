"""What the documents of the system that was asked for show, as it stands there but for host and
model: its requests, in its order. The hosted models are on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import judge_server as judges
from tests.fakes.example_server import ExampleServer, fresh
from tests.fakes.judge_server import JudgeServer

from .conftest import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ExampleServer(fresh) as writer, JudgeServer(judges.first_is_best) as judge:
        hosted = {
            "writer": {"model": "gpt-4o", "api_base": writer.base_url},
            "judge": {"api_base": judge.base_url},
        }
        keys = {"OPENAI_API_KEY": "your_openai_api_key_here", "WANDB_MODE": "disabled"}
        service = Service(tmp_path_factory.mktemp("asked"), hosted, keys).start()
        yield service
        service.close()


def test_curl_health(service: Service) -> None:
    shown = subprocess.run(
        ["curl", "--silent", "--fail", f"{service.url}/health"], capture_output=True, check=True
    )
    answer = json.loads(shown.stdout)
    assert answer["status"] == "healthy"
    assert answer["art_backend"] == "embedded"
    assert (answer["openai_configured"], answer["wandb_configured"]) == (True, False)
    assert answer["version"]


async def test_a_basic_training_request(service: Service) -> None:
    async with httpx.AsyncClient(timeout=120) as client:
        request: dict[str, Any] = {
            "model_name": "my-agent-v1",
            "project": "my-project",
            "base_model": "models/pocket_math",
            "num_steps": 5,
            "batch_size": 8,
            "learning_rate": 1e-5,
            "use_ruler": True,
            "judge_model": "gpt-4o",
            "task_prompt": "You are a helpful assistant that solves problems step by step.",
        }
        response = await client.post(f"{service.url}/train", json=request)
        assert response.status_code == 202, response.text
        assert response.json()["job_id"]
        place = f"{service.url}/train/my-project/my-agent-v1"
        lines = (await client.get(f"{place}/stream")).text.splitlines()
        status = (await client.get(f"{place}/status")).json()
        models = (await client.get(f"{service.url}/models")).json()
        gone = await client.delete(f"{service.url}/models/my-project/my-agent-v1")
    steps = [json.loads(line[5:]) for line in lines if line.startswith('data: {"step"')]
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5], lines[-3:]
    assert sum(step["groups"]["trained"] for step in steps) > 0
    assert (status["status"], status["progress"]) == ("succeeded", 1.0)
    assert [model["model_name"] for model in models["models"]] == ["my-agent-v1"]
    assert gone.status_code == 204


async def test_generate_training_data(service: Service) -> None:
    rollout_request = {
        "model_name": "data-gen",
        "project": "examples",
        "num_rollouts": 10,
        "task_prompt": "Generate diverse question-answer pairs for training.",
        "temperature": 0.8,
    }
    async with httpx.AsyncClient(timeout=120) as client:
        response = await client.post(f"{service.url}/rollout", json=rollout_request)
    assert response.status_code == 200, response.text
    examples = response.json()["examples"]
    assert len({example["prompt"] for example in examples}) == 10
    assert all(example["answer"] for example in examples)


async def test_evaluate_trajectories(service: Service) -> None:
    eval_request = {
        "trajectories": [
            {
                "messages": [
                    {"role": "user", "content": "What is 2+2?"},
                    {"role": "assistant", "content": "2+2 equals 4"},
                ]
            }
        ],
        "judge_model": "gpt-4o",
        "evaluation_prompt": "Rate the accuracy of this mathematical response.",
    }
    async with httpx.AsyncClient(timeout=120) as client:
        response = await client.post(f"{service.url}/evaluate", json=eval_request)
    assert response.status_code == 200, response.text
    (score,) = response.json()["scores"]
    assert 0 <= score["score"] <= 1
    assert score["id"] == "0"
