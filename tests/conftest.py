"""What the tests of several packages need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Before anything imports the libraries that read them: no test asks the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["ZENML_ANALYTICS_OPT_IN"] = "false"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The untrained pocket policy on a real server: a ``tests.backends.pocket.Served``."""
    from tests.backends.pocket import serve

    served = serve(tmp_path_factory.mktemp("served"), max_sequence_tokens=512)
    yield served
    served.service.close()
