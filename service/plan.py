"""Resolve a training request with the service's settings into a plan, checking all that can be.

The plan is stored with its job, so that a resumed job keeps the settings it started with. Importing
this module imports torch, which the service's own process must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from agent.hosted.connection import check_llm
from backends import BackendConfig, BackendError, check, check_serves_adapters, gpus
from backends.chat_format import read_chat_format
from backends.loading import load_tokenizer
from backends.tool_calls import ToolParser
from environment.base import EnvironmentUnavailable, UserError
from environment.configuration import explain
from environment.language_model import LlmConfig, LlmUnavailable
from environment.package import Stage
from environment.registry import UnknownEnvironment, check_environment, environment_package
from environment.tasks import TASK, check_examples, different
from service.judges import check_judge_name
from service.schemas import TrainRequest
from service.settings import EnvironmentDefaults, EvaluationDefaults, ServiceSettings
from training.config import BudgetConfig
from training.run.budget import BUDGETS, UnknownPrice, check_prices
from training.run.store import first_difference
from training.spec import RunSpec

Llm = TypeVar("Llm", bound=LlmConfig)
_EXAMPLES_WRITTEN = 50
_LIMITS = LlmConfig.model_fields.keys() - {"model", "api_base"}


class Refused(ValueError):
    """The request cannot be carried out.

    Args:
        field: dotted name of the invalid field; empty if no field is at fault.
        status: the HTTP status.
    """

    def __init__(self, field: str, error: Exception | str, status: int = 422) -> None:
        super().__init__(str(error))
        loc = ["body", *field.split(".")] if field else []
        self.refusal = {"status": status, "loc": loc, "msg": str(error)}


class OutdatedPlan(UserError):
    """A plan stored by another version of the service, which this one cannot read."""


class Plan(RunSpec):
    """The run of a job, and what belongs to the job alone.

    Args:
        data: the environment's data settings, with the request's examples or the model that writes
            them.
        evaluation: None for no evaluation.
    """

    data: dict[str, Any]
    evaluation: EvaluationDefaults | None = None

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Self:
        """
        Raises:
            OutdatedPlan: this version cannot read it.
        """
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise OutdatedPlan(
                f"another version of the service planned this job, and this version cannot continue it "
                f"({where}: {first['msg']}): delete the model, or train another model_name"
            ) from error

    def stages(self) -> Sequence[Stage]:
        """The stages that make the data."""
        package = environment_package(self.environment["name"])
        config = package.config.model_validate(self.environment)
        return package.stages(package.data.model_validate(self.data), config)

    def lasting_data(self) -> dict[str, Any]:
        """The data settings that determine its content; a writer's limits do not."""
        writer = {k: v for k, v in self.data.get("writer", {}).items() if k not in _LIMITS}
        return self.data | ({"writer": writer} if writer else {})

    def lasting(self) -> dict[str, Any]:
        """The settings that the model's next job must share to continue its run."""
        return super().lasting() | {"data": self.lasting_data()}


def make_plan(
    request: TrainRequest, settings: ServiceSettings, previous: Plan | None = None
) -> Plan:
    """
    Args:
        previous: the plan of the model's last job, which this one would continue.

    Raises:
        Refused: the request is invalid, or this machine cannot carry it out.
    """
    backend = _backend(request, settings)
    environment, data = _environment(request, settings)
    budget = _budget(request.budget, settings.training.budget)
    judge = _within(settings.judge.model_copy(update={"model": request.judge_model}), budget)
    if request.use_ruler:
        _check_llm("judge_model", judge, "use_ruler: false needs no judge", settings)
    if request.environment == TASK and request.training_data is None:
        writer = _within(settings.writer, budget)
        data |= {"writer": writer.model_dump(mode="json")}
        _check_llm("training_data", writer, "or send examples")
    if request.evaluation:
        _check_evaluation(request, backend, environment)
    try:
        check_prices(budget, backend, gpus(backend))
    except UnknownPrice as error:
        raise Refused("budget", error) from error
    changes = {
        "groups_per_step": request.batch_size // request.rollouts_per_group,
        "rollouts_per_group": request.rollouts_per_group,
        "learning_rate": request.learning_rate,
        "max_steps": request.num_steps,
        "reward": "ruler" if request.use_ruler else "verifiable",
        "budget": budget,
    }
    plan = Plan(
        project=request.project,
        name=request.model_name,
        seed=request.seed,
        backend=backend,
        training=settings.training.model_copy(update=changes),
        rollout=settings.rollout,
        judge=judge,
        environment=environment,
        data=data,
        evaluation=settings.evaluation if request.evaluation else None,
    )
    if previous is not None:
        _check_continues(previous, plan)
    return plan


def _backend(request: TrainRequest, settings: ServiceSettings) -> BackendConfig:
    base_model = request.base_model
    if Path(base_model).is_dir():
        base_model = str(Path(base_model).resolve())
    backend = settings.backend.model_copy(update={"base_model": base_model})
    try:
        check(backend)
    except BackendError as error:
        # The request is fine; this machine lacks something.
        detail = f"{error} (ART_BACKEND, or backend.kind in the service's configuration)"
        raise Refused("", detail, status=503) from error
    try:
        _check_model(base_model, backend.tool_parser)
    except BackendError as error:
        raise Refused("base_model", error) from error
    return backend


@lru_cache(maxsize=64)
def _check_model(base_model: str, parser: ToolParser) -> None:
    """Cached if the model is good, so that a thousand jobs load its tokenizer once."""
    read_chat_format(load_tokenizer(base_model), base_model, parser)


def _environment(
    request: TrainRequest, settings: ServiceSettings
) -> tuple[dict[str, Any], dict[str, Any]]:
    name = request.environment
    try:
        package = environment_package(name)
    except UnknownEnvironment as error:
        raise Refused("environment", error) from error
    _check_settings(request, package.operators)
    defaults = settings.environments.get(name, EnvironmentDefaults())
    own = {"name": name} | defaults.settings | request.environment_settings
    if name == TASK:
        own |= _task(request)
    try:
        config = package.config.model_validate(own)
        check_environment(config, settings.rollout.max_turns)
    except ValidationError as error:
        first = error.errors()[0]
        inside = [] if first["loc"][0] in TrainRequest.model_fields else ["environment_settings"]
        where = ".".join(map(str, first["loc"]))
        detail = explain(error, package.config, secret=[where])  # the value may be long
        raise Refused(".".join([*inside, where]), detail) from error
    except EnvironmentUnavailable as error:
        raise Refused("environment", error) from error
    data = package.data.model_validate(defaults.data).model_dump(mode="json")
    if name == TASK:
        data = _examples(request)
    return config.model_dump(mode="json"), data


def _check_settings(request: TrainRequest, operators: Sequence[str]) -> None:
    """
    Args:
        operators: settings reserved for the operator.

    Raises:
        Refused: a setting is reserved, or has a field of its own in the request.
    """
    fields = {"name": "environment"}
    if request.environment == TASK:
        fields |= {"task_prompt": "task_prompt", "verifier": "verifier"}
    for key in request.environment_settings:
        field = f"environment_settings.{key}"
        if key in operators:
            where = f"environments.{request.environment}.settings in the service's configuration"
            raise Refused(field, f"only the operator may set this: {where}")
        if key in fields:
            raise Refused(field, f"set {fields[key]} instead, outside environment_settings")


def _task(request: TrainRequest) -> dict[str, Any]:
    """The prompt task's settings that are fields of the request."""
    if request.verifier is None and not request.use_ruler:
        raise Refused("verifier", "required without use_ruler: it decides which replies are right")
    return {"task_prompt": request.task_prompt, "verifier": request.verifier}


def _examples(request: TrainRequest) -> dict[str, Any]:
    """The request's examples, or how many to write."""
    if request.training_data is None:
        return {"write": request.num_examples or _EXAMPLES_WRITTEN}
    try:
        examples = different(request.training_data)
        check_examples(examples, request.verifier)
    except EnvironmentUnavailable as error:
        raise Refused("training_data", error) from error
    if request.evaluation and len(examples) < 2:
        raise Refused(
            "training_data", "an evaluation needs at least two examples: it holds some out"
        )
    return {"examples": [example.model_dump() for example in examples]}


def _check_evaluation(
    request: TrainRequest, backend: BackendConfig, environment: dict[str, Any]
) -> None:
    if environment.get("held_out_share") == 0:
        raise Refused(
            "environment_settings.held_out_share", "0 holds out no scenario for the evaluation"
        )
    if request.environment == TASK and request.verifier is None:
        raise Refused("evaluation", "requires a verifier, which scores the policies")
    try:
        check_serves_adapters(backend)
    except BackendError as error:
        raise Refused("evaluation", error) from error


def _within(llm: Llm, budget: BudgetConfig) -> Llm:
    """The model, with its cost limited to the job's budget."""
    limits = [v for v in (llm.max_cost_usd, budget.cost_usd) if v is not None]
    return llm.model_copy(update={"max_cost_usd": min(limits)}) if limits else llm


def _check_llm(
    field: str, llm: LlmConfig, alternative: str, named: ServiceSettings | None = None
) -> None:
    """
    Args:
        named: the service's settings if the request names the model, None if the operator does.
    """
    try:
        if named:
            check_judge_name(llm.model, named)
        check_llm(llm)
    except LlmUnavailable as error:
        raise Refused(field, f"{error}; {alternative}") from error


def _budget(requested: BudgetConfig, allowed: BudgetConfig) -> BudgetConfig:
    """The lower of each limit; the operator's prices take precedence."""
    values = requested.model_dump(exclude_none=True)
    for name, value in allowed.model_dump(exclude_none=True).items():
        values[name] = min(value, values.get(name, value)) if name in BUDGETS else value
    return BudgetConfig(**values)


def _check_continues(previous: Plan, plan: Plan) -> None:
    if difference := first_difference(previous.lasting(), plan.lasting()):
        key, old, new = (str(part)[:200] for part in difference)
        detail = (
            f"the model was trained with {key} = {old}, now it is {new}: request the same setting "
            "to continue it, delete it, or use another model_name"
        )
        raise Refused("", detail, status=409)


def answer(question: dict[str, Any], settings: ServiceSettings) -> dict[str, Any]:
    """The checking process's answer to a question of ``service.checker``."""
    previous = question["previous"]
    try:
        plan = make_plan(
            TrainRequest.model_validate(question["request"]),
            settings,
            Plan.read(previous) if previous else None,
        )
    except Refused as error:
        return {"refusal": error.refusal}
    except OutdatedPlan as error:
        return {"refusal": Refused("", f"the model's last job: {error}", status=409).refusal}
    return {"plan": plan.model_dump(mode="json")}
