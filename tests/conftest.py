"""What the tests of several packages need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports the libraries that read them: no test asks the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["ZENML_ANALYTICS_OPT_IN"] = "false"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

# What `make test` leaves to `make test-all`: kills, whole jobs and deployments, clusters, browsers,
# and generators that are run from end to end. docs/promises.md says which promise is tested where.
SLOW = (
    "environment/code/test_bundled.py",
    "pipelines/test_code.py",
    "pipelines/test_deployment_manifests.py",
    "pipelines/test_kubernetes_training.py",
    "pipelines/test_other_models.py",
    "pipelines/test_prompt_task.py",
    "pipelines/test_rehearsal.py",
    "pipelines/test_run_mirror.py",
    "pipelines/test_sandbox_flavors.py",
    "pipelines/test_service.py",
    "pipelines/test_service_page.py",
    "pipelines/test_stack_sandboxes.py",
    "pipelines/test_versions.py",
    "pipelines/test_written_scenarios.py",
    "service/test_asked.py",
    "service/test_client.py",
    "service/test_examples.py",
    "service/test_faults.py",
    "service/test_kill.py",
    "service/test_openapi.py",
    "service/test_page.py",
    "service/test_stream.py",
    "service/test_training.py",
    "training/test_kill.py",
    "web/test_page.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and str(item.path.relative_to(here)) in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The untrained pocket policy on a real server: a ``tests.backends.pocket.Served``."""
    from tests.backends.pocket import serve

    served = serve(tmp_path_factory.mktemp("served"), max_sequence_tokens=512)
    yield served
    served.service.close()
