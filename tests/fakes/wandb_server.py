"""W&B's serverless training and inference, as far as ART 0.5.18's client speaks to them.

It makes a checkpoint for every training job and answers in vLLM's dialect under the names of the
checkpoints it has; it learns nothing.
"""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.loopback import Response
from tests.fakes.vllm_server import VllmServer, Write

ENTITY = "team"
_JOB = re.compile(r"/v1/preview/training-jobs/([^/]+)/events")
_CHECKPOINTS = re.compile(r"/v1/preview/models/([^/]+)/checkpoints")


class WandbServer(VllmServer):
    """
    Attributes:
        jobs: the body of each training job.
        fails: say that training failed, and make no checkpoint.
    """

    def __init__(self, tokenizer: Any, *scripts: Write) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, list[int]] = {}
        self.jobs: list[dict[str, Any]] = []
        self.fails = False
        super().__init__(tokenizer, *scripts)

    def answer(self, method: str, path: str, request: dict[str, Any]) -> Response:
        path, _, query = path.partition("?")
        if (method, path) == ("POST", "/v1/preview/models"):
            return Response(self._model(request))
        if (method, path) == ("POST", "/v1/preview/training-jobs"):
            return Response(self._job(request))
        if (method, path) == ("POST", "/v1/chat/completions"):
            return self._chat(request)
        if checkpoints := _CHECKPOINTS.fullmatch(path):
            return Response(self._checkpoints(method, checkpoints[1], query, request))
        if _JOB.fullmatch(path):
            return Response({"data": self._events(), "has_more": False})
        return Response({"error": f"no {method} {path}"}, 404)

    def _model(self, request: dict[str, Any]) -> dict[str, Any]:
        key = f"{request['project']}-{request['name']}"
        self.steps.setdefault(key, [0])
        named = {name: request[name] for name in ("project", "name", "base_model")}
        return self.models.setdefault(key, {"id": key, "entity": ENTITY, "run_id": None} | named)

    def _job(self, request: dict[str, Any]) -> dict[str, Any]:
        self.jobs.append(request)
        if not self.fails:
            steps = self.steps[request["model_id"]]
            steps.append(max(steps) + 1)
        return {"id": f"job-{len(self.jobs)}"}

    def _events(self) -> list[dict[str, Any]]:
        if self.fails:
            return [{"id": "1", "type": "training_failed", "data": {"error_message": "no GPU"}}]
        return [
            {"id": "1", "type": "training_started", "data": {"num_sequences": 1}},
            {"id": "2", "type": "gradient_step", "data": {"loss": 0.5, "grad_norm": 0.1}},
            {"id": "3", "type": "training_ended", "data": {}},
        ]

    def _checkpoints(
        self, method: str, key: str, query: str, request: dict[str, Any]
    ) -> dict[str, Any]:
        if method == "DELETE":
            gone = set(request["steps"])
            self.steps[key] = [step for step in self.steps[key] if step not in gone]
            return {"deleted_count": len(gone), "not_found_steps": []}
        steps = sorted(self.steps[key], reverse="order=desc" in query)
        if "limit=1" in query:
            steps = steps[:1]
        data = [{"id": f"c{step}", "step": step, "metrics": {}} for step in steps]
        return {"data": data, "has_more": False}

    def _chat(self, request: dict[str, Any]) -> Response:
        names = [
            f"wandb-artifact:///{ENTITY}/{model['project']}/{model['name']}:step{step}"
            for key, model in self.models.items()
            for step in self.steps[key]
        ]
        if request["model"] not in names:
            return Response({"error": {"message": f"no model {request['model']}"}}, 404)
        return self.respond(request)
