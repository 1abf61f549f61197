"""What a personalisation adds to a method is shared or kept as it says, also where the method freezes its network."""

from typing import Any

import pytest

from fedward_core import registry
from fedward_core.cards import Contract
from fedward_core.partition import Partition, Role
from fedward_core.spec import PersonalisationConfig
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.personalisation.baseline_config import DittoConfig, ScaffoldConfig

SETTINGS: dict[str, dict[str, Any]] = {
    "evp": {"weights": "as_built", "image_px": 16, "flip": 0.0},
    "probe": {"weights": "as_built"},
}


def shared_names(method: Method, config: PersonalisationConfig | None = None) -> set[str]:
    if config:
        config.build().extend(method)
    rules = config.build().rules(method) if config else method.rules()
    partition = Partition(manifest_of(method), rules)
    return {name for name in partition.manifest.names() if partition.role(name) is Role.SHARED}


@pytest.fixture(params=SETTINGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(name: str) -> Method:
    backbone = SmallCNNConfig(widths=(4,), hidden=()).build(image_px=32, channels=1)
    config = registry.resolve("methods", name).model_validate(SETTINGS[name])
    method = config.build(backbone=backbone, contract=Contract(classes=("no", "yes"), channels=1))
    assert isinstance(method, Method)
    return method


def test_a_frozen_network_leaves_something_to_share(name: str) -> None:
    assert shared_names(built(name))


def test_ditto_keeps_its_second_model_and_shares_what_the_method_shares(name: str) -> None:
    assert shared_names(built(name), DittoConfig()) == shared_names(built(name))


def test_scaffold_shares_the_servers_variate_beside_what_the_method_shares(name: str) -> None:
    assert shared_names(built(name), ScaffoldConfig()) == shared_names(built(name)) | {"variate.server"}
