"""The agent: its model, its rollouts, and the judges."""

import os

# Read while LiteLLM is imported, which would otherwise download a price list.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
