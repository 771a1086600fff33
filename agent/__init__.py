"""The agent: its model, its rollouts, and the language models that judge it."""

import os

# Read while LiteLLM is imported, which else fetches a price list over the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
