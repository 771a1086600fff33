import importlib

import pytest

from environment import registry
from environment.base import StrictModel
from environment.package import Stage


def test_every_environment_offers_a_package():
    for name in registry.names():
        package = registry.environment_package(name)
        assert package.config().name == name
        stages = package.stages(package.data(), package.config())
        made = [stage.artifact for stage in stages]
        assert set(package.artifacts) <= set(made)
        for number, stage in enumerate(stages):
            assert set(stage.needs) <= set(made[:number])


def test_a_stage_can_be_found_again_by_name_wherever_it_runs():
    for name in registry.names():
        package = registry.environment_package(name)
        for stage in package.stages(package.data(), package.config()):
            module = importlib.import_module(stage.make.__module__)
            assert getattr(module, stage.make.__name__) is stage.make
            form = type(stage.settings)
            assert form.model_validate(stage.settings.model_dump(mode="json")) == stage.settings
            for code in stage.code:
                assert importlib.import_module(code).__name__ == code


def test_email_search_is_the_default():
    assert registry.DEFAULT == "email_search"
    assert registry.environment_package("email_search").artifacts == ("database", "scenarios")


@pytest.mark.parametrize("name", ["", "emails", "base", "registry", "../email_search", "os"])
def test_an_unknown_name_is_answered_with_the_names_there_are(name):
    with pytest.raises(registry.UnknownEnvironment, match="email_search"):
        registry.environment_package(name)


@pytest.mark.parametrize("name", ["", "two words", "a__b", "1st"])
def test_an_artifact_needs_a_name_that_a_step_can_take(name):
    with pytest.raises(ValueError, match="cannot name an artifact"):
        Stage("make", name, lambda work, settings: {}, StrictModel())
