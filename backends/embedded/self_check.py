"""Checks at load time that the sampler computes the model that is trained."""

from __future__ import annotations

import torch
from peft import PeftModel

from backends.embedded.cache import UnknownAttention
from backends.embedded.policy import Policy
from backends.embedded.sampler import Sampler
from backends.errors import BackendError
from backends.sampling import SampleRequest

_PROMPT, _SAMPLED = 48, 8
_LONGEST = 512
# Mean difference in nats, with room for rounding in bfloat16.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.3}
_LAYERS = {"full_attention", "sliding_attention"}


def check_sampler(policy: Policy) -> None:
    """Compare the log-probabilities of a sampled completion with those that transformers computes
    with the trained adapter, past the end of a short sliding window.

    Raises:
        BackendError: they differ, or the sampler cannot compute this model.
    """
    model, vocabulary = policy.sampling_model(policy.step), policy.vocabulary
    config = model.config.get_text_config()
    unknown = set(getattr(config, "layer_types", None) or ()) - _LAYERS
    if unknown:
        raise BackendError(f"{_CANNOT} it has layers of type {min(unknown)}; {_WAY_OUT}")
    window = getattr(config, "sliding_window", None) or 0
    length = window + _PROMPT if window < _LONGEST else _PROMPT
    length = min(length, config.max_position_embeddings - _SAMPLED)
    # Any ids will do; these do not repeat for long.
    prompt = [(31 * i + 7) % vocabulary for i in range(length)]
    try:
        sampler = Sampler(model, end_ids=[], vocabulary=vocabulary)
        done = sampler.admit([SampleRequest(prompt, _SAMPLED)])
        while sampler.active:
            done += sampler.step()
    except (UnknownAttention, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise BackendError(f"{_CANNOT} {error}; {_WAY_OUT}") from error
    [(_, sample)] = done
    expected = _logprobs(policy.trained, prompt, sample.token_ids, vocabulary)
    difference = (torch.tensor(sample.logprobs) - expected).abs().mean().item()
    if not difference <= _TOLERANCE.get(model.dtype, 0.3):
        raise BackendError(
            f"{_CANNOT} its log-probabilities differ from transformers' by {difference:.3f} on "
            f"average; {_WAY_OUT}"
        )


_CANNOT = "the embedded sampler cannot compute this base model:"
_WAY_OUT = "use another base model, or backend.kind: local"


@torch.inference_mode()
def _logprobs(
    model: PeftModel, prompt: list[int], sampled: list[int], vocabulary: int
) -> torch.Tensor:
    model.eval()
    ids = torch.tensor([prompt + sampled], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1, :vocabulary]
    logprobs = logits.float().log_softmax(dim=-1)
    return logprobs.gather(1, ids[0, len(prompt) :, None])[:, 0].cpu()
