"""What a request comes to under the service's settings, with everything checked that can be.

A plan is kept with its job: a job that is resumed goes on as it was begun, whatever the service's
settings have become. Importing this brings in torch; the service's own process does not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from agent.hosted.connection import check_llm
from backends import BackendConfig, BackendError, check, check_serves_adapters, gpus
from backends.loading import load_tokenizer
from environment.base import EnvironmentUnavailable
from environment.configuration import explain
from environment.language_model import LlmConfig, LlmUnavailable
from environment.package import Stage
from environment.registry import UnknownEnvironment, check_environment, environment_package
from environment.tasks import TASK, check_examples, different
from service.judges import check_judge_name
from service.outdated import OutdatedPlan, read_stored
from service.refusals import Refusal, Refused, refused
from service.schemas import TrainRequest
from service.settings import EnvironmentDefaults, EvaluationDefaults, ServiceSettings
from training.config import BudgetConfig
from training.run.budget import BUDGETS, UnknownPrice, check_prices
from training.run.store import first_difference
from training.spec import RunSpec

log = logging.getLogger(__name__)
Llm = TypeVar("Llm", bound=LlmConfig)
_EXAMPLES_WRITTEN = 50
_LIMITS = LlmConfig.model_fields.keys() - {"model", "api_base"}


class Plan(RunSpec):
    """A job's run, and what belongs to the job alone.

    Args:
        data: where its data comes from: the environment's data settings, with the examples of a
            request that brought some, or who writes them.
        evaluation: None if there is none.
    """

    data: dict[str, Any]
    evaluation: EvaluationDefaults | None = None

    def stages(self) -> Sequence[Stage]:
        """How the data is made."""
        return _stages(self.environment, self.data)

    def lasting_data(self) -> dict[str, Any]:
        """Of the data's settings, those that decide what it is. A writer's limits do not."""
        writer = {k: v for k, v in self.data.get("writer", {}).items() if k not in _LIMITS}
        return self.data | ({"writer": writer} if writer else {})

    def lasting(self) -> dict[str, Any]:
        """What must stay the same for a model's next job to continue its run."""
        return super().lasting() | {"data": self.lasting_data()}


def _stages(environment: dict[str, Any], data: dict[str, Any]) -> Sequence[Stage]:
    package = environment_package(environment["name"])
    config = package.config.model_validate(environment)
    return package.stages(package.data.model_validate(data), config)


def make_plan(
    request: TrainRequest, settings: ServiceSettings, previous: Plan | None = None
) -> Plan:
    """
    Args:
        previous: that of the model's last job, which this one would continue.

    Raises:
        Refused: the request, or this machine, is not as it must be.
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
        _check_llm("training_data", writer, "or send examples: there is nobody to write them")
    if request.evaluation:
        _check_evaluation(request, backend, environment)
    try:
        check_prices(budget, backend, gpus(backend))
    except UnknownPrice as error:
        raise refused("budget", error) from error
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
        # Nothing in the request is wrong: the service has no such machine.
        told = f"{error} (ART_BACKEND, or backend.kind of the service's configuration)"
        raise Refused(Refusal(status=503, loc=[], msg=told)) from error
    try:
        _check_model(base_model)
    except BackendError as error:
        raise refused("base_model", error) from error
    return backend


@lru_cache(maxsize=64)
def _check_model(base_model: str) -> None:
    """Remembers those that are good: a thousand jobs read one tokenizer once."""
    load_tokenizer(base_model)


def _environment(
    request: TrainRequest, settings: ServiceSettings
) -> tuple[dict[str, Any], dict[str, Any]]:
    name = request.environment
    try:
        package = environment_package(name)
    except UnknownEnvironment as error:
        raise refused("environment", error) from error
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
        told = explain(error, package.config, secret=[where])  # it may be long
        raise refused(".".join([*inside, where]), told) from error
    except EnvironmentUnavailable as error:
        raise refused("environment", error) from error
    data = package.data.model_validate(defaults.data).model_dump(mode="json")
    if name == TASK:
        data = _examples(request, settings)
    return config.model_dump(mode="json"), data


def _check_settings(request: TrainRequest, operators: Sequence[str]) -> None:
    """
    Args:
        operators: settings that only who runs the service decides.

    Raises:
        Refused: a setting that a request may not choose, or that would be passed over.
    """
    fields = {"name": "environment"}
    if request.environment == TASK:
        fields |= {"task_prompt": "task_prompt", "verifier": "verifier"}
    for key in request.environment_settings:
        field = f"environment_settings.{key}"
        if key in operators:
            told = f"environments.{request.environment}.settings of the service's configuration"
            raise refused(field, f"is for who runs the service to decide: {told}")
        if key in fields:
            raise refused(field, f"say it as {fields[key]}, beside environment_settings")


def _task(request: TrainRequest) -> dict[str, Any]:
    """The settings of the prompt task that stand in the request itself."""
    if request.verifier is None and not request.use_ruler:
        raise refused("verifier", "without use_ruler a verifier must decide what is right")
    return {"task_prompt": request.task_prompt, "verifier": request.verifier}


def _examples(request: TrainRequest, settings: ServiceSettings) -> dict[str, Any]:
    """The examples of a request, or how many are written for it."""
    if request.training_data is None:
        return {"write": request.num_examples or _EXAMPLES_WRITTEN}
    try:
        made = different(request.training_data)
        check_examples(made, request.verifier)
    except EnvironmentUnavailable as error:
        raise refused("training_data", error) from error
    if request.evaluation and len(made) < 2:
        raise refused("training_data", "one example leaves none to hold out for an evaluation")
    return {"examples": [one.model_dump() for one in made]}


def _check_evaluation(
    request: TrainRequest, backend: BackendConfig, environment: dict[str, Any]
) -> None:
    if environment.get("held_out_share") == 0:
        raise refused("environment_settings.held_out_share", "0 leaves none for an evaluation")
    if request.environment == TASK and request.verifier is None:
        raise refused("evaluation", "without a verifier nobody can tell how a policy does")
    try:
        check_serves_adapters(backend)
    except BackendError as error:
        raise refused("evaluation", error) from error


def _within(llm: Llm, budget: BudgetConfig) -> Llm:
    """A model that may cost no more than the job may."""
    limits = [v for v in (llm.max_cost_usd, budget.cost_usd) if v is not None]
    return llm.model_copy(update={"max_cost_usd": min(limits)}) if limits else llm


def _check_llm(
    field: str, llm: LlmConfig, otherwise: str, named: ServiceSettings | None = None
) -> None:
    """
    Args:
        named: the service's settings, where the request names the model.
    """
    try:
        if named:
            check_judge_name(llm.model, named)
        check_llm(llm)
    except LlmUnavailable as error:
        raise refused(field, f"{error}; {otherwise}") from error


def _budget(asked: BudgetConfig, most: BudgetConfig) -> BudgetConfig:
    """What was asked for, within what the service allows; its prices, where it names them."""
    values: dict[str, Any] = {}
    for name in BudgetConfig.model_fields:
        given = [v for v in (getattr(most, name), getattr(asked, name)) if v is not None]
        if given:
            values[name] = min(given) if name in BUDGETS else given[0]
    return BudgetConfig(**values)


def _check_continues(previous: Plan, plan: Plan) -> None:
    if different := first_difference(previous.lasting(), plan.lasting()):
        key, was, now = (str(part)[:200] for part in different)
        raise Refused(
            Refusal(
                status=409,
                loc=[],
                msg=f"the model was trained with {key} = {was}, now it is {now}: ask for the same "
                "to continue it, delete it, or take another model_name",
            )
        )


def answer(question: dict[str, Any], settings: ServiceSettings) -> dict[str, Any]:
    """What the checking process says to a question of ``service.checker``."""
    previous = question["previous"]
    try:
        plan = make_plan(
            TrainRequest.model_validate(question["request"]),
            settings,
            read_stored(Plan, previous) if previous else None,
        )
    except Refused as error:
        return {"refusal": error.refusal.model_dump()}
    except OutdatedPlan as error:
        told = f"the model's last job: {error}"
        return {"refusal": Refusal(status=409, loc=[], msg=told).model_dump()}
    return {"plan": plan.model_dump(mode="json")}
