"""What a registered method needs is said twice, without torch and with it: both must agree."""

import pytest

from fedward_core import registry
from fedward_core.cards import SERVES, DataNeed
from fedward_core.spec import BackboneConfig, MethodConfig

METHODS: dict[str, type[MethodConfig]] = {name: registry.resolve("methods", name) for name in registry.names("methods")}


@pytest.mark.parametrize("name", [name for name, config in METHODS.items() if config.runtime == "torch"])
def test_a_method_needs_what_its_configuration_says(name: str) -> None:
    assert registry.load(METHODS[name].implementation).need is METHODS[name].need


@pytest.mark.parametrize("name", registry.names("backbones"))
def test_every_backbone_says_what_it_reads(name: str) -> None:
    config = registry.resolve("backbones", name)
    assert issubclass(config, BackboneConfig)
    assert config.need in {DataNeed.IMAGE, DataNeed.VOLUME, DataNeed.CLIP}


def test_every_need_is_served_by_some_kind_of_data() -> None:
    assert frozenset[DataNeed]().union(*SERVES.values()) == frozenset(DataNeed)
