"""Which judges a request may name."""

from __future__ import annotations

import pytest

from environment.language_model import LlmUnavailable
from service.judges import check_judge_name
from service.settings import ServiceSettings


@pytest.mark.parametrize("model", ["gpt-4o", "openai/o3", "anthropic/any", "gemini/g", "vllm/own"])
def test_a_hosted_judge_and_the_configured_one_may_be_named(model: str) -> None:
    check_judge_name(model, ServiceSettings.model_validate({"judge": {"model": "vllm/own"}}))


@pytest.mark.parametrize(
    "model",
    # A server of this machine, weights loaded here, a login, a folder of prompts, nobody's.
    ["llamafile/x", "lm_studio/x", "vllm/x", "github_copilot/x", "dotprompt/x", "nobody"],
)
def test_others_may_not(model: str) -> None:
    with pytest.raises(LlmUnavailable, match="judge_providers"):
        check_judge_name(model, ServiceSettings())


def test_beside_a_server_of_the_services_own_no_other_is_asked() -> None:
    settings = ServiceSettings.model_validate({"judge": {"api_base": "http://127.0.0.1:9/v1"}})
    check_judge_name("gpt-4o", settings)
    check_judge_name("openai/judge", settings)
    with pytest.raises(LlmUnavailable, match=r"a judge of openai$"):
        check_judge_name("anthropic/any", settings)
