"""A Kubernetes API server on loopback that stores what is applied and runs nothing.

Whatever breaks the schema of its kind is refused, as a server with strict field validation does it.
A Deployment is available as soon as it is there.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

VERSION = "1.32"
_RESOURCES = {
    "v1": {"namespaces": "Namespace", "secrets": "Secret", "services": "Service"},
    "apps/v1": {"deployments": "Deployment"},
    "networking.k8s.io/v1": {"ingresses": "Ingress"},
}

Manifest = dict[str, Any]


def violation(manifest: Manifest) -> str | None:
    """What strict validation says against it, and the place."""
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}"
    return None


class KubernetesApi:
    """Use as a context manager. ``applied`` holds every manifest that was sent, in order, and
    ``objects`` what is there now."""

    def __init__(self) -> None:
        self.applied: list[Manifest] = []
        self.objects: dict[str, Manifest] = {}
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def write_kubeconfig(self, path: Path, context: str) -> None:
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(config))

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, Manifest]:
        if method == "GET" and (discovery := _discovery(path)):
            return 200, discovery
        with self.lock:
            if method == "PATCH":
                return self._apply(path, yaml.safe_load(body))
            if method == "GET" and path in self.objects:
                return 200, self.objects[path]
            if method == "DELETE" and self.objects.pop(path, None):
                return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        return 404, failure(404, f"{path} not found")

    def _apply(self, path: str, manifest: Manifest) -> tuple[int, Manifest]:
        self.applied.append(manifest)
        if error := violation(manifest):
            return 422, failure(422, error)
        stored = json.loads(json.dumps(manifest))
        stored["metadata"] |= {"generation": 1, "uid": "0"}
        if stored["kind"] == "Deployment":
            replicas = stored["spec"]["replicas"]
            counts = ("replicas", "updatedReplicas", "availableReplicas")
            stored["status"] = {
                "observedGeneration": 1,
                "conditions": [{"type": "Available", "status": "True"}],
            } | dict.fromkeys(counts, replicas)
        self.objects[path] = stored
        return 200, stored

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _discovery(path: str) -> Manifest | None:
    if path == "/version":
        major, minor = VERSION.split(".")
        return {"major": major, "minor": minor, "gitVersion": f"v{VERSION}.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [api.split("/") for api in _RESOURCES if "/" in api]
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                    "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                }
                for group, version in groups
            ],
        }
    api = path.removeprefix("/apis/").removeprefix("/api/")
    if api not in _RESOURCES:
        return None
    return {
        "kind": "APIResourceList",
        "groupVersion": api,
        "resources": [
            {
                "name": name,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": kind != "Namespace",
                "verbs": ["get", "patch", "delete"],
            }
            for name, kind in _RESOURCES[api].items()
        ],
    }


def failure(code: int, message: str) -> Manifest:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def _handler(api: KubernetesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            url = urlsplit(self.path)
            status, answer = api.answer(self.command, url.path, parse_qs(url.query), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            """Silent."""

    return Handler
