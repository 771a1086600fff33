"""What we hold of transformers 5.2 beside its documented interface, in one place.

``tests/backends/test_transformers_compat.py`` has a test for each thing held, which fails by name
when an upgrade moves it.
"""

from __future__ import annotations

from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["Cache", "sdpa_attention_forward", "sdpa_mask"]
