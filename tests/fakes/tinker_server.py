"""Tinker's API, as far as the SDK 0.18 speaks it for sampling and training, over a real policy.

Samples with the policy's weights, computes log-probabilities and gradients with PyTorch, and keeps
checkpoints in memory. One policy at a time.
"""

from __future__ import annotations

import copy
import io
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch

from backends.config import BackendConfig
from backends.embedded.policy import Policy
from backends.embedded.sampler import Sampler
from backends.sampling import SampleRequest
from tests.fakes.loopback import LoopbackServer, Response

KEY = "tml-test"
_CHECKPOINT = re.compile(r"/api/v1/training_runs/([^/]+)/checkpoints/(.+)")


class TinkerServer(LoopbackServer):
    """
    Attributes:
        checkpoints: the adapter and the optimizer's state, by address.
        trained_on: the datums of each backward pass.
    """

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._results: dict[str, dict[str, Any]] = {}
        self._sessions: dict[str, str] = {}
        self._policy: Policy | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._models = 0
        self.checkpoints: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.trained_on: list[list[dict[str, Any]]] = []
        super().__init__()

    @property
    def url(self) -> str:
        return self.base_url.removesuffix("/v1")

    def respond(self, request: dict[str, Any]) -> Response:
        raise AssertionError("see answer")

    def answer(self, method: str, path: str, request: dict[str, Any]) -> Response:
        path = path.partition("?")[0]
        if self.headers[-1].get("x-api-key") != KEY and path != "/archive":
            return Response({"detail": "who are you?"}, 401)
        name = path.removeprefix("/api/v1/")
        if method == "POST" and hasattr(self, f"_{name.replace('/', '_')}"):
            return Response(getattr(self, f"_{name.replace('/', '_')}")(request))
        if path == "/archive":
            return Response(self._archive(), content_type="application/gzip")
        if checkpoint := _CHECKPOINT.fullmatch(path):
            return self._checkpoint(method, checkpoint[1], checkpoint[2])
        return Response({"detail": f"no {method} {path}"}, 404)

    def _later(self, result: dict[str, Any]) -> dict[str, Any]:
        request_id = f"r{len(self._results)}"
        self._results[request_id] = result
        return {"request_id": request_id}

    def _retrieve_future(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._results[request["request_id"]]

    def _client_config(self, request: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _telemetry(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": "accepted"}

    def _session_heartbeat(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"type": "session_heartbeat"}

    def _create_session(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"type": "create_session", "session_id": "s"}

    def _create_model(self, request: dict[str, Any]) -> dict[str, Any]:
        self._models += 1
        lora = self._config.lora.model_copy(update={"rank": request["lora_config"]["rank"]})
        config = self._config.model_copy(update={"lora": lora, "base_model": request["base_model"]})
        self._policy = Policy(
            config, Path("no checkpoints here"), request["lora_config"].get("seed", 0)
        )
        parameters = [p for p in self._policy.trained.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0)
        return self._later({"type": "create_model", "model_id": f"run-{self._models}"})

    def _weights_info(self, request: dict[str, Any]) -> dict[str, Any]:
        lora = {"is_lora": True, "lora_rank": self._config.lora.rank, "train_unembed": False}
        return {"base_model": self._config.base_model} | lora

    def _load_weights(self, request: dict[str, Any]) -> dict[str, Any]:
        adapter, optimizer = self.checkpoints[request["path"]]
        self._load(adapter)
        if request["optimizer"]:
            assert self._optimizer
            self._optimizer.load_state_dict(copy.deepcopy(optimizer))
        return self._later({"type": "load_weights", "path": request["path"]})

    def _save_weights(self, request: dict[str, Any]) -> dict[str, Any]:
        path = self._save(f"tinker://{request['model_id']}/weights/{request['path']}")
        return self._later({"type": "save_weights", "path": path})

    def _save_weights_for_sampler(self, request: dict[str, Any]) -> dict[str, Any]:
        path = self._save(f"tinker://{request['model_id']}/sampler_weights/{request['path']}")
        return self._later({"type": "save_weights_for_sampler", "path": path})

    def _create_sampling_session(self, request: dict[str, Any]) -> dict[str, Any]:
        session = f"sampling-{len(self._sessions)}"
        self._sessions[session] = request["model_path"]
        return {"type": "create_sampling_session", "sampling_session_id": session}

    def _asample(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._policy
        adapter, _ = self.checkpoints[self._sessions[request["sampling_session_id"]]]
        now = self._adapter()
        self._load(adapter)
        self._policy.advance(self._policy.step)
        sampler = Sampler(self._policy.sampling_model(self._policy.step), self._policy.end_ids)
        self._load(now)
        wanted = request["sampling_params"]
        prompt = [i for chunk in request["prompt"]["chunks"] for i in chunk["tokens"]]
        sample_request = SampleRequest(
            prompt, wanted["max_tokens"], wanted["temperature"], wanted["seed"]
        )
        done = sampler.admit([sample_request])
        while sampler.active:
            done += sampler.step()
        ((_, sample),) = done
        sequence = {"tokens": sample.token_ids, "logprobs": sample.logprobs}
        sequence |= {"stop_reason": "stop" if sample.ended else "length"}
        return self._later({"type": "sample", "sequences": [sequence]})

    def _forward(self, request: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            return self._later(self._passed(request["forward_input"]["data"]))

    def _forward_backward(self, request: dict[str, Any]) -> dict[str, Any]:
        self.trained_on.append(request["forward_backward_input"]["data"])
        return self._later(self._passed(self.trained_on[-1]))

    def _optim_step(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._optimizer
        for group in self._optimizer.param_groups:
            group["lr"] = request["adam_params"]["learning_rate"]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return self._later({"type": "optim_step", "metrics": {}})

    def _passed(self, data: list[dict[str, Any]]) -> dict[str, Any]:
        """Cross-entropy with weights, and its gradient where that is wanted."""
        assert self._policy
        outputs = []
        for datum in data:
            ids = [i for chunk in datum["model_input"]["chunks"] for i in chunk["tokens"]]
            targets = torch.tensor(datum["loss_fn_inputs"]["target_tokens"]["data"])
            logits = self._policy.trained(input_ids=torch.tensor([ids])).logits[0]
            logprobs = torch.log_softmax(logits.float(), -1).gather(1, targets[:, None])[:, 0]
            if torch.is_grad_enabled():
                weights = torch.tensor(datum["loss_fn_inputs"]["weights"]["data"])
                (-(logprobs * weights)).sum().backward()
            shape = {"data": logprobs.tolist(), "dtype": "float32", "shape": [len(targets)]}
            outputs.append({"logprobs": shape})
        return {
            "loss_fn_output_type": "ArrayRecord",
            "loss_fn_outputs": outputs,
            "metrics": {"loss:sum": 1.0},
        }

    def _adapter(self) -> dict[str, Any]:
        assert self._policy
        state = self._policy.trained.state_dict()
        return {k: v.clone() for k, v in state.items() if "lora_" in k}

    def _load(self, adapter: dict[str, Any]) -> None:
        assert self._policy
        self._policy.trained.load_state_dict(adapter, strict=False)

    def _save(self, path: str) -> str:
        assert self._optimizer
        self.checkpoints[path] = (self._adapter(), copy.deepcopy(self._optimizer.state_dict()))
        return path

    def _checkpoint(self, method: str, run: str, name: str) -> Response:
        if method == "DELETE":
            del self.checkpoints[f"tinker://{run}/{name}"]
            return Response({})
        return Response(
            "", 302, {"location": f"{self.url}/archive", "expires": "Fri, 01 Jan 2100 00:00:00 GMT"}
        )

    def _archive(self) -> bytes:
        assert self._policy
        packed = io.BytesIO()
        with (
            tempfile.TemporaryDirectory() as folder,
            tarfile.open(fileobj=packed, mode="w:gz") as tar,
        ):
            self._policy.trained.save_pretrained(folder)
            tar.add(folder, "checkpoint")
        return packed.getvalue()
