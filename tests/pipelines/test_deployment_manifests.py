"""What ZenML's deployers make of our configurations: images, a container, manifests.

Real are the configurations, the commands of docs/deployment.md, ZenML's client, server, image
builder and deployers. The Docker daemon and the Kubernetes API are stand-ins on loopback.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated, Any

import kubernetes_validate
import pytest
import yaml
from kubernetes.utils import parse_quantity
from zenml import pipeline, step
from zenml.config import DockerSettings
from zenml.image_builders import BuildContext

from pipelines.config import load_config
from pipelines.inference import deployment_settings
from tests import forks
from tests.fakes.docker_daemon import Build, DockerDaemon
from tests.fakes.kubernetes_api import KubernetesApi, Manifest, violation
from tests.pipelines.commands import ROOT
from tests.pipelines.zenml_server import (
    PASSWORD,
    enter,
    login,
    printed,
    register,
    wait_for,
    zenml_server,
)

KEY = "named-by-a-variable-0123456789"
DOCS = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
CONFIGS = ("deployment_docker", "deployment_k8s")
NO_PART_OF_THE_APP = {"tests", "benchmarks", "examples"}


@step
def answer(question: str) -> Annotated[str, "answer"]:
    return question


@pipeline(name="inference", enable_cache=False)
def stand_in(question: str = "") -> Annotated[str, "answer"]:
    return answer(question)


# --- in processes of their own --------------------------------------------------------------------


def deploy_to_docker(home: Path, environment: dict[str, str]) -> None:
    enter(home, environment)
    register(DOCS, "Docker")
    deploy(home, "deployment_docker", "docker", [], ["deployment.key=$ART_RL_KEY"])


def deploy_to_kubernetes(home: Path, environment: dict[str, str]) -> None:
    from zenml.client import Client

    enter(home, environment)
    register(DOCS, "Kubernetes")
    deploy(home, "deployment_k8s", "kubernetes", [])
    overlay, ingress = printed(DOCS, "Kubernetes", "yaml")
    (home / "ingress.yaml").write_text(ingress)
    (home / "my-cluster.yaml").write_text(overlay.replace("ingress.yaml", f"{home}/ingress.yaml"))
    deploy(home, "deployment_k8s", "kubernetes", [home / "my-cluster.yaml"])
    Client().delete_deployment("my-email-agent")


def deploy(
    home: Path, config: str, flavor: str, overlays: list[Path], settings: list[str] | None = None
) -> None:
    from zenml.client import Client

    from pipelines.deploy import deployment_key, zenml_settings

    loaded = load_config([ROOT / "configs" / f"{config}.yaml", *overlays], settings or [])
    Client().activate_stack(loaded.stack)
    zenml = zenml_settings(loaded, flavor, deployment_key(loaded.deployment))
    made = stand_in.with_options(settings=zenml).deploy("my-email-agent", timeout=30)
    with (home / "deployed.jsonl").open("a") as file:
        file.write(json.dumps({"key": made.auth_key, "status": made.status}) + "\n")


# --- fixtures -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What came of deployments in a home of their own."""

    home: Path
    docker: DockerDaemon
    kubernetes: KubernetesApi

    @property
    def deployed(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.home / "deployed.jsonl").open()]

    def manifests(self, deployment: int = 0) -> dict[str, Manifest]:
        """Those of the first or a later deployment, by kind."""
        starts = [n for n, m in enumerate(self.kubernetes.applied) if m["kind"] == "Namespace"]
        end = [*starts, None][deployment + 1]
        return {m["kind"]: m for m in self.kubernetes.applied[starts[deployment] : end]}

    @property
    def pod(self) -> Manifest:
        return self.manifests()["Deployment"]["spec"]["template"]

    @property
    def container(self) -> Manifest:
        (container,) = self.pod["spec"]["containers"]
        return container

    @property
    def service_port(self) -> Manifest:
        (port,) = self.manifests()["Service"]["spec"]["ports"]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A ZenML server of our own that starts meanwhile."""
    with zenml_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def worlds(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("machine")
        machine, docker = begin(stack, home, deploy_to_docker, ART_RL_KEY=KEY)
        wait_for(f"{server}/health")
        home = tmp_path_factory.mktemp("cluster")
        cluster, kubernetes = begin(
            stack,
            home,
            deploy_to_kubernetes,
            **login(server),
            AWS_ACCESS_KEY_ID="id-of-the-bucket",
            AWS_SECRET_ACCESS_KEY="key-of-the-bucket",
        )
        for world, process in ((machine, docker), (cluster, kubernetes)):
            process.join(120)
            code = process.exitcode
            process.kill()
            assert code == 0, (world.home / "log").read_text()[-4000:]
        yield machine, cluster


def begin(
    stack: ExitStack, home: Path, target: Callable[..., None], **environment: str
) -> tuple[World, BaseProcess]:
    docker = stack.enter_context(DockerDaemon())
    kubernetes = stack.enter_context(KubernetesApi())
    kubernetes.write_kubeconfig(home / ".kube" / "config", "my-cluster")
    (home / "bin").mkdir()
    # ZenML looks for it before it asks the daemon.
    (home / "bin" / "docker").touch(mode=0o755)
    paths = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "ZENML_CONFIG_PATH": str(home / "zenml"),
        "DOCKER_HOST": docker.address,
    }
    return World(home, docker, kubernetes), forks.start(target, home, paths | environment)


@pytest.fixture(scope="module")
def machine(worlds: tuple[World, World]) -> World:
    """One deployment with Docker, on ZenML's local stack."""
    return worlds[0]


@pytest.fixture(scope="module")
def cluster(worlds: tuple[World, World]) -> World:
    """A deployment to Kubernetes, another with what the documentation adds, and the end of it."""
    return worlds[1]


# --- Kubernetes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_every_manifest_passes_strict_validation(cluster: World, version: str) -> None:
    for manifest in cluster.kubernetes.applied:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert [list(cluster.manifests(n)) for n in (0, 1)] == [
        ["Namespace", "Secret", "Deployment", "Service"],
        ["Namespace", "Secret", "Deployment", "Service", "Ingress"],
    ]
    assert [made["status"] for made in cluster.deployed] == ["running", "running"]


def test_the_validation_refuses_what_a_cluster_would(cluster: World) -> None:
    manifest = json.loads(json.dumps(cluster.manifests()["Deployment"]))
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container["securityContext"]["run_as_user"] = None
    assert "run_as_user" in str(violation(manifest))


def test_there_is_no_null_and_no_key_in_snake_case(cluster: World) -> None:
    for manifest in cluster.kubernetes.applied:
        for path, value in leaves(manifest):
            assert value is not None, path
            assert "data" in path or not any("_" in key for key in path), path


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def test_the_pod_gets_what_it_asks_for_and_may_use_no_less(cluster: World) -> None:
    resources = cluster.container["resources"]
    requests, limits = (
        {name: parse_quantity(amount) for name, amount in resources[part].items()}
        for part in ("requests", "limits")
    )
    assert set(requests) == set(limits) == {"cpu", "memory"}
    assert all(0 < requests[name] <= limits[name] for name in requests)
    assert requests["memory"] >= parse_quantity("1.5Gi")


def test_there_is_one_pod_of_an_image_named_by_its_digest(cluster: World) -> None:
    assert cluster.manifests()["Deployment"]["spec"]["replicas"] == 1
    image = r"registry\.example\.com/team/art-rl-agent@sha256:[0-9a-f]{64}"
    assert re.fullmatch(image, cluster.container["image"])
    assert cluster.container["imagePullPolicy"] == "IfNotPresent"


def test_all_probes_ask_for_the_health_of_the_app_on_its_port(cluster: World) -> None:
    app = deployment_settings("email_search")
    (port,) = cluster.container["ports"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        http_get = cluster.container[probe]["httpGet"]
        assert http_get == {"path": "/health", "port": port["name"]}
        (endpoint,) = [e for e in app.custom_endpoints if e.path == http_get["path"]]
        assert not endpoint.auth_required
    assert port["containerPort"] == app.uvicorn_port == 8000
    assert cluster.service_port["port"] == cluster.service_port["targetPort"] == 8000
    assert cluster.manifests()["Service"]["spec"]["type"] == "ClusterIP"


def test_the_service_finds_the_pod(cluster: World) -> None:
    labels = cluster.pod["metadata"]["labels"]
    spec = cluster.manifests()["Deployment"]["spec"]
    for selector in (cluster.manifests()["Service"]["spec"]["selector"], spec["selector"]):
        wanted = selector.get("matchLabels", selector)
        assert wanted.items() <= labels.items()
        assert "zenml-deployment-id" in wanted
    assert labels["app.kubernetes.io/name"] == "email-agent"


def test_the_app_has_time_to_start_and_to_stop(cluster: World) -> None:
    startup = cluster.container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 2 * 30
    _, leaving = cluster.container["lifecycle"]["preStop"]["exec"]["command"]
    assert cluster.pod["spec"]["terminationGracePeriodSeconds"] > int(leaving) + 10


def test_the_pod_has_no_rights_it_does_not_need(cluster: World) -> None:
    """The Pod Security Standard called restricted, and no token of the cluster."""
    pod, container = cluster.pod["spec"], cluster.container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is container["privileged"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_the_pod_can_write_where_the_app_does_and_nowhere_else(cluster: World) -> None:
    assert cluster.container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {m["name"]: m["mountPath"] for m in cluster.container["volumeMounts"]}
    volumes = cluster.pod["spec"]["volumes"]
    assert volumes == [{"name": name, "emptyDir": {}} for name in mounts]
    ours, zenml_s = (build.dockerfile for build in cluster.docker.builds[:2])
    (home,) = re.findall(r"\bHOME=(\S+)", ours)
    (settings,) = re.findall(r"^ENV ZENML_CONFIG_PATH=(\S+)", zenml_s, re.MULTILINE)
    assert set(mounts.values()) == {home, settings}


def test_the_key_is_in_no_manifest_and_the_token_only_in_the_secret(cluster: World) -> None:
    secret = cluster.manifests()["Secret"]
    (name, token), *more = secret["data"].items()
    token = base64.b64decode(token).decode()
    assert (name, more) == ("ZENML_STORE_API_TOKEN", [])
    (variable,) = [v for v in cluster.container["env"] if v["name"] == name]
    reference = {"name": secret["metadata"]["name"], "key": name}
    assert variable == {"name": name, "valueFrom": {"secretKeyRef": reference}}
    for deployment, made in enumerate(cluster.deployed):
        for kind, manifest in cluster.manifests(deployment).items():
            values = [str(value) for _, value in leaves(manifest)]
            if kind == "Secret":
                values += [base64.b64decode(v).decode() for v in manifest["data"].values()]
            else:
                assert not any(token in value for value in values)
            secrets = (made["key"], "key-of-the-bucket", PASSWORD)
            assert not any(word in value for word in secrets for value in values)


def test_a_generated_key_stays_when_it_is_deployed_again(cluster: World) -> None:
    first, second = (made["key"] for made in cluster.deployed)
    assert first == second
    assert len(first) >= 32


def test_a_new_deployment_starts_new_pods_though_the_image_is_the_same(cluster: World) -> None:
    first, second = (cluster.manifests(n)["Deployment"]["spec"]["template"] for n in (0, 1))
    images = [template["spec"]["containers"][0]["image"] for template in (first, second)]
    assert images[0] == images[1]
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]
    update = cluster.manifests()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_printed_ingress_leads_to_the_service(cluster: World) -> None:
    manifests = cluster.manifests(1)
    spec = manifests["Ingress"]["spec"]
    (rule,) = spec["rules"]
    (path,) = rule["http"]["paths"]
    service = path["backend"]["service"]
    assert service["name"] == manifests["Service"]["metadata"]["name"]
    assert service["port"]["name"] == manifests["Service"]["spec"]["ports"][0]["name"]
    assert spec["tls"] == [{"hosts": [rule["host"]], "secretName": "agent-tls"}]
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_deleted_it_leaves_nothing_but_the_namespace(cluster: World) -> None:
    assert [kept["kind"] for kept in cluster.kubernetes.objects.values()] == ["Namespace"]


# --- Docker ---------------------------------------------------------------------------------------


def test_the_container_sees_zenml_s_local_stores_and_nothing_else_of_the_machine(
    machine: World,
) -> None:
    container = the_container(machine)
    stores = str(machine.home / "zenml" / "local_stores")
    assert container["HostConfig"]["Binds"] == [f"{stores}:{stores}:rw"]
    environment = dict(variable.split("=", 1) for variable in container["Env"])
    assert environment["ZENML_LOCAL_STORES_PATH"] == stores
    assert environment["ZENML_STORE_URL"].startswith(f"sqlite:///{stores}/")


def test_the_container_is_limited_and_publishes_the_port_of_the_app(machine: World) -> None:
    container = the_container(machine)
    host = container["HostConfig"]
    assert list(host["PortBindings"]) == [f"{deployment_settings('email_search').uvicorn_port}/tcp"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == 3 << 30
    assert host["NanoCpus"] == 2_000_000_000
    assert container["User"] == str(os.getuid())
    assert container["Image"] == machine.docker.builds[-1].tag


def test_the_key_is_neither_in_the_container_nor_in_the_image(machine: World) -> None:
    assert [made["key"] for made in machine.deployed] == [KEY]
    assert KEY not in json.dumps(the_container(machine))
    for build in machine.docker.builds:
        assert not any(KEY.encode() in content for content in build.files.values())


def test_without_a_registry_nothing_is_pushed(machine: World, cluster: World) -> None:
    assert machine.docker.pushed == []
    assert set(cluster.docker.pushed) == {
        "registry.example.com/team/art-rl-agent:inference-deployer"
    }


def the_container(machine: World) -> dict[str, Any]:
    (container,) = machine.docker.containers.values()
    return container


# --- the image ------------------------------------------------------------------------------------


@pytest.fixture(params=["machine", "cluster"])
def builds(request: pytest.FixtureRequest) -> tuple[Build, Build]:
    """The image of our Dockerfile, and that of ZenML on top of it."""
    world: World = request.getfixturevalue(request.param)
    ours, zenml_s = world.docker.builds[:2]
    return ours, zenml_s


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(keyword.upper(), rest) for keyword, rest in parts]


def test_the_image_starts_from_a_pinned_python(builds: tuple[Build, Build]) -> None:
    ours, zenml_s = (instructions(build.dockerfile) for build in builds)
    (base,) = [rest for keyword, rest in ours if keyword == "FROM"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)
    assert [rest for keyword, rest in zenml_s if keyword == "FROM"] == [builds[0].tag]


def test_the_image_has_the_cpu_build_of_the_locked_torch_and_the_lock(
    builds: tuple[Build, Build],
) -> None:
    steps = instructions(builds[0].dockerfile)
    (install,) = [rest for keyword, rest in steps if keyword == "RUN" and "pip install" in rest]
    torch, lock, check = install.split(" && ")
    assert "--no-deps --index-url https://download.pytorch.org/whl/cpu " in torch
    assert lock == "pip install --no-deps --only-binary :all: -r requirements.txt"
    assert check == "pip check"
    (named,) = re.findall(r"\$\((.*?)\)", torch)
    completed = subprocess.run(["sh", "-c", named], cwd=ROOT, capture_output=True, text=True)
    assert completed.stdout.split() == [f"torch=={locked()['torch']}"]
    assert builds[0].files["requirements.txt"] == (ROOT / "requirements.txt").read_bytes()
    assert [rest for keyword, rest in steps if keyword in {"COPY", "ADD"}] == ["requirements.txt ."]


def test_what_zenml_installs_on_top_goes_with_the_lock(builds: tuple[Build, Build]) -> None:
    ours, zenml_s = builds
    constraint = ("ENV", "PIP_CONSTRAINT=/opt/art-rl/requirements.txt")
    assert constraint in instructions(ours.dockerfile)
    assert ("WORKDIR", "/opt/art-rl") in instructions(ours.dockerfile)
    installed = [rest for keyword, rest in instructions(zenml_s.dockerfile) if keyword == "RUN"]
    files = [file for step in installed for file in re.findall(r"^pip install .*-r (\S+)", step)]
    assert set(files) == {name for name in zenml_s.files if name.endswith("_requirements")}
    assert "uv" not in " ".join(installed).split()
    wanted = [line for file in files for line in zenml_s.files[file].decode().split()]
    for line in wanted:
        name, *_ = re.split("[=~<>!]", line)
        pinned_there, pinned_here = name.lower() in locked(), f"{name}==" in line
        assert pinned_there != pinned_here, line


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return dict(line.split()[0].split("==") for line in lines if "==" in line)


def test_the_image_ends_as_a_user_without_rights(builds: tuple[Build, Build]) -> None:
    steps = instructions(builds[1].dockerfile)
    assert steps[-1] == ("USER", "10001:10001")
    assert steps[-2] == ("RUN", "chown -R 10001:10001 .")
    # ZenML copies and changes modes on top of ours, which only root may do.
    assert "USER" not in dict(instructions(builds[0].dockerfile))


def test_no_instruction_holds_a_secret(builds: tuple[Build, Build]) -> None:
    for build in builds:
        for keyword, rest in instructions(build.dockerfile):
            if keyword in {"ARG", "ENV"}:
                assert not re.search(r"(KEY|TOKEN|SECRET|PASSWORD)=", rest)


def test_all_of_the_app_is_in_the_image_and_nothing_else(builds: tuple[Build, Build]) -> None:
    files = {Path(file) for file in builds[1].files if not file.startswith(".zenml_")}
    packages = {
        folder.name
        for folder in ROOT.iterdir()
        if (folder / "__init__.py").exists() and folder.name not in NO_PART_OF_THE_APP
    }
    folders = packages | {"configs", "web"}
    assert {file.parts[0] for file in files} == folders | {
        "Dockerfile",
        "requirements.txt",
        "requirements-gpu.txt",
        "run.py",
    }
    code = {file.relative_to(ROOT) for folder in packages for file in (ROOT / folder).rglob("*.py")}
    assert code <= files
    assert Path("models/pocket/model.safetensors") in files


def test_what_lies_around_does_not_get_into_the_image(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    wanted = {"run.py", "agent/model.py", "web/assets/app.js"}
    unwanted = {
        ".env",
        ".git/config",
        ".venv/bin/python",
        "id_rsa",
        "kubeconfig",
        "my-cluster.yaml",
        "runs/demo/summary.json",
        "tests/conftest.py",
        "agent/.env",
        "agent/__pycache__/model.cpython-311.pyc",
        "models/pocket/model.safetensors.partial",
    }
    for name in wanted | unwanted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    files = BuildContext(root=str(tmp_path)).get_files()
    assert {name for name, path in files.items() if Path(path).is_file()} == wanted


# --- the configurations ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_zenml_knows_every_docker_setting(name: str) -> None:
    written = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())["settings"]["docker"]
    assert written.keys() <= DockerSettings.model_fields.keys()
    assert DockerSettings.model_validate(written).dockerfile == "docker/serve.Dockerfile"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_deployment_that_others_can_reach_has_a_key_and_a_stack_that_is_documented(
    name: str,
) -> None:
    config = load_config([ROOT / "configs" / f"{name}.yaml"])
    assert config.deployment.key == "generate"
    assert f"zenml stack register {config.stack} " in DOCS


def test_the_documented_packages_for_the_bucket_are_those_of_the_image() -> None:
    pins = load_config([ROOT / "configs/deployment_k8s.yaml"]).settings["docker"]["requirements"]
    (command,) = re.findall(r"^pip install -c requirements.txt (.*)$", DOCS, re.MULTILINE)
    assert set(command.split()) <= set(pins)
