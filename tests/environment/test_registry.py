import pytest

from environment import registry
from environment.base import StrictModel


def test_every_environment_offers_what_the_registry_promises():
    for name in registry.names():
        package = registry.environment_package(name)
        assert issubclass(package.Config, StrictModel)
        assert issubclass(package.DataConfig, StrictModel)
        assert all(isinstance(artifact, str) for artifact in package.ARTIFACTS)
        assert callable(package.open_environment)


def test_email_search_is_found_by_its_folder_name():
    assert "email_search" in registry.names()
    assert registry.environment_package("email_search").ARTIFACTS == ("database", "scenarios")


@pytest.mark.parametrize("name", ["", "emails", "base", "registry", "../email_search", "os"])
def test_an_unknown_name_is_answered_with_the_names_there_are(name):
    with pytest.raises(registry.UnknownEnvironment, match="email_search"):
        registry.environment_package(name)
