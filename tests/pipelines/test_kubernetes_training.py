"""Training through ZenML's Kubernetes step operator, as the documentation says to do it.

Real are the commands of docs/kubernetes.md, the configuration, ZenML's client, server, image builder
and step operator, and what runs in the pod. Stand-ins on loopback are the Kubernetes API with its one
node, the Docker daemon, and S3.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import boto3
import kubernetes_validate
import pytest
import yaml
from kubernetes.utils import parse_quantity
from moto.server import ThreadedMotoServer

from pipelines.config import load_config
from tests import forks
from tests.fakes.docker_daemon import Build, DockerDaemon
from tests.fakes.kubernetes_api import Manifest
from tests.fakes.kubernetes_cluster import KubernetesCluster, Node, Pod, wrong_quantity
from tests.pipelines import commands
from tests.pipelines.commands import ROOT
from tests.pipelines.conftest import SMALL, Ended, Project, settings
from tests.pipelines.zenml_server import (
    PASSWORD,
    enter,
    login,
    register,
    wait_for,
    zenml_server,
)
from training.run.run_log import STEP

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
    shutil.copytree(ROOT / "docker", project.folder / "docker", dirs_exist_ok=True)
    for name in (".dockerignore", "requirements.txt", "requirements-gpu.txt"):
        shutil.copy2(ROOT / name, project.folder)

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
        made.succeed("--pipeline", "data", *ON_CLIENT, *settings(*TINY))
        yield made


def environment_of(docker: DockerDaemon) -> dict[str, str]:
    """What the Dockerfiles of the newest image set."""
    variables: dict[str, str] = {}
    for build in docker.builds[-2:]:
        text = re.sub(r"\\\n\s*", "", build.dockerfile)
        for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE):
            variables |= dict(re.findall(r'(\w+)="?([^"\s]*)"?', line))
    return variables


@pytest.fixture(scope="module")
def reference(world: World) -> list[dict[str, Any]]:
    """The same run on the client, with the same artifact store."""
    world.succeed("--pipeline", "train", "--name", "local", *ON_CLIENT, *settings(*TINY))
    return records(world.folder("local"))


@pytest.fixture(scope="module")
def trained(world: World, reference: list[dict[str, Any]]) -> tuple[Manifest, Pod]:
    """The Job and the pod of a run that nothing disturbed. Its Python is a new one, which has nothing
    but the files of the image and the installed packages."""
    world.cluster.forked = False
    world.succeed("--pipeline", "train", "--name", "pod", *ON_CLUSTER, *settings(*TINY))
    world.cluster.forked = True
    (job,), (pod,) = world.cluster.applied, world.cluster.pods
    return job, pod


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def assert_same(trained_records: list[dict[str, Any]], reference: list[dict[str, Any]]) -> None:
    """All but times. Sums of floats depend a little on what is computed together."""
    assert [record[STEP] for record in trained_records] == list(range(1, STEPS + 1))
    for record, expected in zip(trained_records, reference, strict=True):
        names = [name for name in expected if not name.startswith(("time/", "budget/minutes"))]
        different = {
            name: (record.get(name), expected[name])
            for name in names
            if record.get(name) != nearly(expected[name])
        }
        assert different == {}, str(different)[:3000]


def nearly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-3, abs=1e-6) if isinstance(value, float) else value


# --- the run --------------------------------------------------------------------------------------


def test_training_in_a_pod_ends_with_the_metrics_of_the_local_run(
    world: World, reference: list[dict[str, Any]], trained: tuple[Manifest, Pod]
) -> None:
    assert_same(records(world.folder("pod")), reference)


def test_only_the_training_step_went_to_the_cluster(
    world: World, trained: tuple[Manifest, Pod]
) -> None:
    job, pod = trained
    assert job["metadata"]["labels"]["step_name"] == "train_agent"
    assert "--step_name train_agent" in " ".join(pod.container["args"])
    summary = json.loads((world.folder("pod") / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["train"]["steps"] == STEPS


def test_a_local_run_is_kept_on_the_local_disk_alone(
    world: World, reference: list[dict[str, Any]], trained: tuple[Manifest, Pod]
) -> None:
    kept = {key.split("/")[3] for key in world.objects("art-rl/run_folders/")}
    assert "pod" in kept
    assert "local" not in kept
    assert (world.folder("local") / "art").is_dir()
    assert not (world.folder("pod") / "art").exists()


def test_the_evaluation_on_the_client_loads_what_the_pod_trained(
    world: World, trained: tuple[Manifest, Pod]
) -> None:
    world.succeed("--pipeline", "eval", "--name", "eval", *ON_CLIENT, *settings(*TINY))
    summary = json.loads((world.folder("eval") / "summary.json").read_text())
    assert summary["checkpoint"]["run"] == "pod"
    assert summary["checkpoint"]["step"] == STEPS
    assert summary["eval"]["scenarios"] == 4


def test_a_run_whose_pod_is_killed_three_times_is_in_the_end_the_undisturbed_one(
    world: World, reference: list[dict[str, Any]], trained: tuple[Manifest, Pod]
) -> None:
    before = len(world.cluster.pods)
    moments = random.Random(0)
    run = world.start("--pipeline", "train", "--name", "killed", *ON_CLUSTER, *settings(*TINY))
    for kill in range(3):
        pod = nth_pod(world, before + kill)
        reached = wait_until(lambda pod=pod, kill=kill: len(pod_records(pod)) > kill, run[0])
        assert reached, pod.log + run[2].read_text()
        time.sleep(moments.uniform(0, 0.5))
        pod.process.kill()
        done = len(pod_records(pod))
        assert saved_step(world, "killed") >= done - 1
    done = ended(*run)
    assert done.code == 0, done.out + done.err

    assert len(world.cluster.pods) - before == 4
    assert_same(records(world.folder("killed")), reference)


def pod_records(pod: Pod) -> list[dict[str, Any]]:
    """What the run in it has logged; its last line may be half-written."""
    (path, *_) = [*pod.folder.glob("art-rl-*/metrics.jsonl"), None]
    lines = path.read_text().splitlines(keepends=True) if path else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def saved_step(world: World, name: str) -> int:
    keys = world.objects(f"art-rl/run_folders/art-rl/{name}/")
    return max((int(Path(key).stem) for key in keys if key.endswith(".json")), default=0)


def nth_pod(world: World, number: int) -> Pod:
    assert wait_until(lambda: len(world.cluster.pods) > number)
    pod = world.cluster.pods[number]
    assert wait_until(lambda: pod.process is not None)
    return pod


def wait_until(reached: Callable[[], bool], process: BaseProcess | None = None) -> bool:
    deadline = time.monotonic() + 120
    while not reached():
        if time.monotonic() > deadline or (process and not process.is_alive()):
            return False
        time.sleep(0.01)
    return True


def test_ctrl_c_ends_the_pod_too_and_the_same_command_continues_even_if_evicted(
    world: World, reference: list[dict[str, Any]], trained: tuple[Manifest, Pod]
) -> None:
    before = len(world.cluster.pods)
    command = ("--pipeline", "train", "--name", "stopped", *ON_CLUSTER, *settings(*TINY))
    run = world.start(*command)
    pod = nth_pod(world, before)
    assert wait_until(lambda: saved_step(world, "stopped") > 0, run[0])
    os.kill(run[0].pid or 0, signal.SIGINT)
    done = ended(*run)
    assert done.code == 130, done.out + done.err
    assert done.message.splitlines()[-1].startswith("stopped, and train_agent cancelled")
    assert wait_until(lambda: pod.process.exitcode is not None)
    assert len(world.cluster.pods) == before + 1
    assert pod.job not in world.cluster.jobs

    run = world.start(*command)
    evicted = nth_pod(world, before + 1)
    assert wait_until(lambda: len(pod_records(evicted)) > 1, run[0])
    evicted.process.terminate()
    done = ended(*run)
    assert done.code == 0, done.out + done.err
    assert "run the same command again to continue" in evicted.log
    assert len(world.cluster.pods) == before + 3
    assert_same(records(world.folder("stopped")), reference)


def test_a_pod_that_no_node_takes_ends_at_its_deadline_with_the_reason(world: World) -> None:
    gpus = {"nvidia.com/gpu": "8"}
    operator = {
        "active_deadline_seconds": 2,
        "pod_settings": {"resources": {"requests": gpus, "limits": gpus}},
    }
    step = {"retry": None, "settings": {"step_operator.kubernetes": operator}}
    overlay = world.home / "too-many.yaml"
    overlay.write_text(yaml.safe_dump({"steps": {"train_agent": step}}))
    started = time.monotonic()
    done = world.run(
        "--pipeline", "train", "--name", "never", *ON_CLUSTER, *settings(*TINY[:-1]),
        "--config", str(overlay),
    )  # fmt: skip
    assert done.code == 2
    assert time.monotonic() - started < 60
    last = done.message.splitlines()[-1]
    assert last.startswith("error: step train_agent failed in the cluster: DeadlineExceeded: ")
    assert "FailedScheduling: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu." in last
    job = world.cluster.applied[-1]["metadata"]["name"]
    assert f"kubectl -n art-rl describe job {job}" in last


# --- what was sent --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_the_job_passes_strict_validation(trained: tuple[Manifest, Pod], version: str) -> None:
    job, _ = trained
    kubernetes_validate.validate(job, version, strict=True)


def test_the_cluster_of_these_tests_refuses_wrong_quantities(trained: tuple[Manifest, Pod]) -> None:
    spec = json.loads(json.dumps(trained[1].manifest["spec"]))
    assert wrong_quantity(spec) is None
    (container,) = spec["containers"]
    for part, name, amount in (
        ("limits", "memory", "64 GB"),
        ("requests", "memory", "65Gi"),
        ("limits", "nvidia.com/gpu", "2"),
        ("requests", "nvidia.com/gpu", "two"),
    ):
        was = container["resources"][part][name]
        container["resources"][part][name] = amount
        assert name in str(wrong_quantity(spec)), amount
        container["resources"][part][name] = was


def test_the_pod_gets_a_gpu_and_shared_memory_within_its_limit(
    trained: tuple[Manifest, Pod],
) -> None:
    resources = trained[1].container["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    spec = trained[1].manifest["spec"]
    (shared,) = [v for v in spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"]
    mounts = {m["name"]: m["mountPath"] for m in trained[1].container["volumeMounts"]}
    assert mounts[shared["name"]] == "/dev/shm"
    size = parse_quantity(shared["emptyDir"]["sizeLimit"])
    assert 0 < size < parse_quantity(resources["limits"]["memory"])


def test_the_job_is_bounded_in_time_and_cleaned_up(trained: tuple[Manifest, Pod]) -> None:
    spec = trained[0]["spec"]
    config = load_config([ROOT / "configs" / "training_k8s.yaml"])
    assert spec["backoffLimit"] == 0  # ZenML tries again, not Kubernetes
    assert spec["activeDeadlineSeconds"] > 60 * config.training.budget.minutes
    assert spec["ttlSecondsAfterFinished"] > 0
    # Longer than a step under way takes to end.
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 120


def test_the_keys_are_references_and_their_values_nowhere(
    world: World, trained: tuple[Manifest, Pod]
) -> None:
    job, pod = trained
    keys = {
        v["name"]: v["valueFrom"]["secretKeyRef"] for v in pod.container["env"] if "valueFrom" in v
    }
    assert set(keys) == {"OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN"}
    assert not keys["OPENAI_API_KEY"].get("optional")
    text = json.dumps(job)
    for secret in ("sk-of-the-tests", "key-of-it", PASSWORD):
        assert secret not in text
        assert not any(
            secret.encode() in content
            for build in world.docker.builds
            for content in build.files.values()
        )


def test_the_pod_has_no_rights_it_does_not_need(trained: tuple[Manifest, Pod]) -> None:
    """The Pod Security Standard called baseline, no root, and no token of the cluster. For restricted,
    ZenML's step operator cannot set what it must."""
    spec = trained[1].manifest["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert trained[1].container["securityContext"] == {"privileged": False}


# --- the image ------------------------------------------------------------------------------------


@pytest.fixture
def builds(world: World, trained: tuple[Manifest, Pod]) -> tuple[Build, Build]:
    """The image of our Dockerfile, and that of ZenML on top of it."""
    ours, zenml_s = world.docker.builds[:2]
    return ours, zenml_s


def test_the_image_is_pinned_and_installs_the_lock(builds: tuple[Build, Build]) -> None:
    text = builds[0].dockerfile
    assert re.findall(r"^FROM (\S+)$", text, re.MULTILINE) == [
        "nvidia/cuda:12.8.1-devel-ubuntu24.04"
    ]
    assert re.findall(r"^COPY (.*)$", text, re.MULTILINE)[1:] == ["requirements-gpu.txt ."]
    assert "uv pip install --no-deps -r requirements-gpu.txt && pip check" in text
    assert "PIP_CONSTRAINT=/opt/art-rl/requirements-gpu.txt" in text
    assert builds[1].dockerfile.startswith(f"FROM {builds[0].tag}\n")
    assert "USER 10001:10001" in builds[1].dockerfile.splitlines()


def test_the_image_has_the_locked_uv_and_cuda(builds: tuple[Build, Build]) -> None:
    lock = builds[0].files["requirements-gpu.txt"].decode()
    (uv,) = re.findall(r"^uv==(\S+)", lock, re.MULTILINE)
    assert f"COPY --from=ghcr.io/astral-sh/uv:{uv} " in builds[0].dockerfile
    (cuda,) = re.findall(r"^nvidia-cuda-runtime-cu12==(\d+\.\d+)\.", lock, re.MULTILINE)
    assert f"FROM nvidia/cuda:{cuda}." in builds[0].dockerfile


def test_the_image_holds_no_secret(builds: tuple[Build, Build]) -> None:
    for build in builds:
        assert not re.search(r"^(ARG|ENV).*(KEY|TOKEN|SECRET|PASSWORD)=", build.dockerfile, re.M)
        assert not any(Path(file).name.startswith(".env") for file in build.files)
