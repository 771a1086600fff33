import pytest

from environment import registry


def test_every_environment_offers_a_package():
    for name in registry.names():
        package = registry.environment_package(name)
        assert package.config().name == name
        stages = package.stages(package.data(), package.config())
        made = [stage.artifact for stage in stages]
        assert set(package.artifacts) <= set(made)
        for number, stage in enumerate(stages):
            assert set(stage.needs) <= set(made[:number])


def test_email_search_is_the_default():
    assert registry.DEFAULT == "email_search"
    assert registry.environment_package("email_search").artifacts == ("database", "scenarios")


@pytest.mark.parametrize("name", ["", "emails", "base", "registry", "../email_search", "os"])
def test_an_unknown_name_is_answered_with_the_names_there_are(name):
    with pytest.raises(registry.UnknownEnvironment, match="email_search"):
        registry.environment_package(name)
