"""Names and what they stand for."""

from importlib import metadata

import pytest

from fedward_core import registry
from fedward_core.config import Config
from fedward_core.errors import SpecError

KINDS = (
    "aggregators",
    "backbones",
    "filters",
    "local_terms",
    "methods",
    "optimizers",
    "personalisations",
    "tokenizers",
)
REGISTERED = [(kind, name) for kind in KINDS for name in registry.names(kind)]
# What a configuration cannot do without.
REQUIRED = {"dalle": {"weights": {"name": "encoder", "sha256": "0" * 64}}}


def test_every_group_of_entry_points_is_known_here() -> None:
    ours = metadata.distribution("fedward").entry_points
    groups = {entry.group for entry in ours if entry.group.startswith("fedward.")}
    assert groups == {f"fedward.{kind}" for kind in (*KINDS, "engines")}


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_sorted(kind: str) -> None:
    assert list(registry.names(kind)) == sorted(registry.names(kind))
    assert registry.names(kind)


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_a_registered_name_is_that_of_its_configuration(kind: str, name: str) -> None:
    config = registry.resolve(kind, name).default(**REQUIRED.get(name, {}))
    assert isinstance(config, Config)
    assert config.name == name


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_a_configuration_survives_json(kind: str, name: str) -> None:
    config = registry.resolve(kind, name).default(**REQUIRED.get(name, {}))
    assert type(config).model_validate_json(config.model_dump_json()) == config


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others() -> None:
    with pytest.raises(SpecError) as caught:
        registry.resolve("aggregators", "weigthed_mean")
    assert str(caught.value) == (
        "unknown aggregator 'weigthed_mean'. Did you mean 'weighted_mean'? "
        "Known: fedadam, fedavgm, median, scaffold_mean, trimmed_mean, weighted_mean."
    )


def test_a_name_like_no_other_is_answered_without_a_guess() -> None:
    assert registry.unknown("key 'zzz'", "zzz", ("alpha", "beta")) == "unknown key 'zzz'. Known: alpha, beta."


def test_a_kind_without_names_says_so() -> None:
    assert registry.names("nothing") == ()
    with pytest.raises(SpecError, match="Known: none"):
        registry.resolve("nothing", "x")


def test_a_reference_leads_to_its_object() -> None:
    assert registry.load("fedward_core.errors:SpecError") is SpecError
