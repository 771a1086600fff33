"""Training through ZenML's Kubernetes step operator, as the documentation says to do it.

Real are the commands of docs/kubernetes.md, the configuration, ZenML's client, server, image builder
and step operator, and what runs in the pod. Stand-ins on loopback are the Kubernetes API with its one
node, the Docker daemon, and S3.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests import forks
from tests.fakes.docker_daemon import DockerDaemon
from tests.fakes.kubernetes_cluster import KubernetesCluster, Node
from tests.pipelines import commands
from tests.pipelines.commands import ROOT
from tests.pipelines.conftest import SMALL, Ended, Project, settings
from tests.pipelines.zenml_server import enter, login, register, wait_for, zenml_server

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
NODE = Node(
    labels={"nvidia.com/gpu.present": "true"},
    taints=frozenset({"nvidia.com/gpu"}),
    allocatable={
        "cpu": "15890m",
        "memory": "120Gi",
        "ephemeral-storage": "400Gi",
        "nvidia.com/gpu": "1",
    },
)
STEPS = 4
# The configuration of the cluster, and over it the policy that a CPU can train.
ON_CLUSTER = ("--config", "configs/training_k8s.yaml", "--config", "configs/laptop.yaml")
ON_CLIENT = ("--config", "configs/laptop.yaml", "--set", "stack=art-rl-gpu")
TINY = (*SMALL, f"training.max_steps={STEPS}", "steps.train_agent.retry.delay=0")


# --- in processes of their own --------------------------------------------------------------------


def register_stack(home: Path, environment: dict[str, str]) -> None:
    enter(home, environment)
    register(PAGE, "Register the stack")


def call_impatiently(*arguments: Any) -> None:
    """``python run.py``, where ZenML asks for the state of a pod every 0.1 s instead of up to 16."""
    from zenml.step_operators import base_step_operator

    class Impatient:
        sleep = staticmethod(lambda seconds: time.sleep(0.1))

    base_step_operator.time = Impatient
    commands.call_main(*arguments)


# --- fixtures -------------------------------------------------------------------------------------


@dataclass
class World:
    """A user's machine with the documented stack registered."""

    project: Project
    home: Path
    variables: dict[str, str]
    cluster: KubernetesCluster
    docker: DockerDaemon
    s3: Any
    folders: dict[str, Path] = field(default_factory=dict)

    def start(self, *arguments: str) -> tuple[BaseProcess, Path, Path]:
        out, err = (self.home / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
        environment = self.project.environment(**self.variables)
        folder = self.project.folder
        process = forks.start(call_impatiently, folder, arguments, folder, environment, out, err)
        return process, out, err

    def run(self, *arguments: str) -> Ended:
        process, out, err = self.start(*arguments)
        return ended(process, out, err)

    def succeed(self, *arguments: str) -> Ended:
        done = self.run(*arguments)
        assert done.code == 0, done.out + done.err + "".join(p.log for p in self.cluster.pods)
        return done

    def folder(self, name: str) -> Path:
        return self.project.folder / "runs" / name

    def objects(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket="my-bucket", Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


def ended(process: BaseProcess, out: Path, err: Path) -> Ended:
    process.join(240)
    code = process.exitcode
    process.kill()
    assert code is not None, "it did not end in time"
    return Ended(code, out.read_text(), err.read_text())


@pytest.fixture(scope="module")
def world(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("user")
    for name in ("docker", ".dockerignore", "requirements.txt"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(
            ROOT / name, project.folder / name
        )
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with ExitStack() as stack:
        server = stack.enter_context(zenml_server(tmp_path_factory.mktemp("server")))
        docker = stack.enter_context(DockerDaemon())

        def image(name: str, folder: Path) -> dict[str, str]:
            for file, content in docker.builds[-1].files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
            return environment_of(docker) | {"AWS_ENDPOINT_URL": s3_url}

        cluster = stack.enter_context(
            KubernetesCluster(tmp_path_factory.mktemp("pods"), NODE, image)
        )
        cluster.secrets["art-rl-keys"] = {"OPENAI_API_KEY": base64.b64encode(b"sk-of-the-tests")}
        cluster.write_kubeconfig(home / ".kube" / "config", "my-cluster")
        bucket = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        bucket.start()
        stack.callback(bucket.stop)
        s3_url = "http://{}:{}".format(*bucket.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "id-of-the-bucket", "AWS_SECRET_ACCESS_KEY": "key-of-it"}
        s3 = boto3.client(
            "s3",
            endpoint_url=s3_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )
        s3.create_bucket(Bucket="my-bucket")
        (home / "bin").mkdir()
        # ZenML looks for it before it asks the daemon.
        (home / "bin" / "docker").touch(mode=0o755)
        variables = {
            "HOME": str(home),
            "TMPDIR": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "ZENML_CONFIG_PATH": str(home / "zenml"),
            "DOCKER_HOST": docker.address,
            "AWS_ENDPOINT_URL": s3_url,
            **login(server),
        }
        wait_for(f"{server}/health")
        registering = forks.start(register_stack, home, variables | keys)
        registering.join(120)
        assert registering.exitcode == 0, (home / "log").read_text()[-4000:]
        made = World(project, home, variables, cluster, docker, s3)
        made.succeed("--pipeline", "data", *ON_CLIENT, *settings(*TINY), "--no-cache")
        yield made


def environment_of(docker: DockerDaemon) -> dict[str, str]:
    """What the Dockerfiles of the newest image set."""
    found: dict[str, str] = {}
    for build in docker.builds[-2:]:
        text = re.sub(r"\\\n\s*", "", build.dockerfile)
        for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE):
            found |= dict(re.findall(r'(\w+)="?([^"\s]*)"?', line))
    return found


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_slice(world: World) -> None:
    done = world.run("--pipeline", "train", "--name", "pod", *ON_CLUSTER, *settings(*TINY))
    print(done.out, done.err)
    for pod in world.cluster.pods:
        print(pod.log)
    print(records(world.folder("pod")))
    assert done.code == 0
