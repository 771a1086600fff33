import pytest

from environment.email_search.email_db import EmailDatabase, build_database


@pytest.fixture
def open_database(tmp_path):
    """Builds a database over mails, opens it, and closes it when the test ends."""
    opened = []

    def build(mails, **thresholds):
        path = tmp_path / f"mails {len(opened)}.db"
        build_database(path, mails, **thresholds)
        opened.append(EmailDatabase(path))
        return opened[-1]

    yield build
    for database in opened:
        database.close()


@pytest.fixture
def no_hub(tmp_path, monkeypatch):
    """The hub is out of reach, and what its libraries cache goes to the test's own folder."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
