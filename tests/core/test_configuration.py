"""Configurations: frozen, strict about names, built by name."""

from typing import ClassVar, Literal

import pytest
from pydantic import ValidationError

from fedward_core.aggregation.config import FedAvgMConfig, WeightedMeanConfig
from fedward_core.aggregation.weighted_mean import WeightedMean
from fedward_core.config import Config, Frozen, chosen_from


class Oven(Frozen):
    heat: float = 1.0
    shelf: int = 2


class Listed(Config):
    implementation: ClassVar[str] = "builtins:list"

    name: Literal["listed"] = "listed"


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Oven().heat = 2.0  # type: ignore[misc]


def test_an_unknown_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"unknown key 'heet'. Did you mean 'heat'\? Known: heat, shelf"):
        Oven.model_validate({"heet": 3})


@pytest.mark.parametrize("value", ["nan", "inf", float("-inf")])
def test_a_number_that_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Oven.model_validate({"heat": value})


def test_a_configuration_builds_what_it_names_with_itself_first() -> None:
    config = WeightedMeanConfig()
    built = config.build()
    assert isinstance(built, WeightedMean)
    assert built.config is config
    assert [key for key, _ in Listed().build()] == ["name"]


def test_a_choice_takes_a_name_a_table_or_a_configuration() -> None:
    choose = chosen_from("aggregators")
    assert choose("weighted_mean") == WeightedMeanConfig()
    assert choose({"name": "fedavgm", "momentum": 0.5}) == FedAvgMConfig(momentum=0.5)
    assert choose(FedAvgMConfig(lr=2)) == FedAvgMConfig(lr=2)


@pytest.mark.parametrize("value", [3, None, {}, {"momentum": 0.5}, ["weighted_mean"]])
def test_a_choice_without_a_name_lists_the_names(value: object) -> None:
    with pytest.raises(ValueError, match="expected a name from fedadam, fedavgm"):
        chosen_from("aggregators")(value)


def test_a_choice_of_an_unknown_name_or_key_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'fedadam'"):
        chosen_from("aggregators")("fedadm")
    with pytest.raises(ValueError, match="Did you mean 'momentum'"):
        chosen_from("aggregators")({"name": "fedavgm", "momentun": 0.5})


def test_defaults_can_be_replaced_by_name() -> None:
    assert FedAvgMConfig.default(lr=0.5).lr == 0.5
    with pytest.raises(ValidationError):
        FedAvgMConfig.default(lr=-1)
