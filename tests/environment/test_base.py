import pytest
from pydantic import ValidationError

from environment.base import Scenario


def test_a_record_is_frozen():
    scenario = Scenario(id="1", split="train")
    with pytest.raises(ValidationError, match="frozen"):
        scenario.id = "2"


def test_a_record_refuses_keys_it_does_not_know():
    with pytest.raises(ValidationError, match="typo"):
        Scenario(id="1", split="train", typo=1)


def test_there_are_two_splits_only():
    with pytest.raises(ValidationError, match="split"):
        Scenario(id="1", split="validation")
