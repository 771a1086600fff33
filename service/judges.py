"""Which models a request may name as its judge.

A LiteLLM name can do more than select a model: ``llamafile/x`` calls a server on this machine,
``vllm/x`` loads weights into this process, ``github_copilot/x`` starts a login. Requests may therefore
only name models of remote providers whose key the operator has set.
"""

from __future__ import annotations

from agent.hosted.providers import provider_of
from environment.language_model import LlmUnavailable
from service.settings import ServiceSettings

_OWN_SERVER = ("openai",)


def check_judge_name(model: str, settings: ServiceSettings) -> None:
    """Raises ``LlmUnavailable`` if a request may not name this model."""
    if model == settings.judge.model:
        return
    allowed = _OWN_SERVER if settings.judge.api_base else settings.judge_providers
    if _provider(model) not in allowed:
        raise LlmUnavailable(
            f"{model[:60]} must be set in the service's configuration (judge.model, judge_providers); a "
            f"request may name a judge of {', '.join(allowed)}"
        )


def _provider(model: str) -> str | None:
    """None if the name contains none and LiteLLM knows none."""
    provider, slash, _ = model.partition("/")
    if slash:
        return provider  # LiteLLM would log in to some providers
    return provider_of(model)
