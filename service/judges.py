"""Which models a request may name as its judge.

To LiteLLM a name is more than a name: ``llamafile/x`` asks a server on this machine, ``vllm/x`` loads
weights into this process, ``github_copilot/x`` begins a login. So a request may name models of some
providers only, whose servers are elsewhere and ask for a key that whoever runs the service has set.
"""

from __future__ import annotations

from agent.hosted.providers import provider_of
from environment.language_model import LlmUnavailable
from service.settings import ServiceSettings

_OWN_SERVER = ("openai",)


def check_judge_name(model: str, settings: ServiceSettings) -> None:
    """
    Raises:
        LlmUnavailable: a request may not ask this model.
    """
    if model == settings.judge.model:
        return
    allowed = _OWN_SERVER if settings.judge.api_base else settings.judge_providers
    if _provider(model) not in allowed:
        raise LlmUnavailable(
            f"{model[:60]} is for the service's configuration to name (judge.model, judge_providers); a "
            f"request may name a judge of {', '.join(allowed)}"
        )


def _provider(model: str) -> str | None:
    """None if LiteLLM knows none, of names without one."""
    provider, slash, _ = model.partition("/")
    if slash:
        return provider  # LiteLLM is not asked: for some providers it would log in
    return provider_of(model)
