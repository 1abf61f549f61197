"""FedPer, LG-FedAvg, FedBN and training alone: which entries stay, on the same mechanism as channel decoupling."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.partition import Partition, Role, Rule
from fedward_core.spec import PersonalisationConfig
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.personalisation.config import (
    ChannelDecouplingConfig,
    FedBNConfig,
    FedPerConfig,
    LGFedAvgConfig,
    LocalOnlyConfig,
)


def tiny(**settings: Any) -> Supervised:
    backbone = SmallCNNConfig(**{"widths": (2, 3), "hidden": (4,), **settings}).build(image_px=8, channels=1)
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b")))
    assert isinstance(method, Supervised)
    return method


def private_names(config: PersonalisationConfig, method: Method, share_of_round: int = 0) -> set[str]:
    partition = Partition(
        manifest_of(method), config.build().rules(method), share=config.share_at(share_of_round, rounds=10)
    )
    return {name for name in partition.manifest.names() if partition.role(name) is Role.PRIVATE}


class FrozenBackbone(Supervised):
    """Trains a head alone."""

    def rules(self) -> tuple[Rule, ...]:
        return (Rule(pattern=r"backbone\..*", role=Role.FROZEN), *super().rules())


def test_keeping_what_is_frozen_anyway_is_refused() -> None:
    backbone = SmallCNNConfig(widths=(2,), hidden=(4,)).build(image_px=8, channels=1)
    method = FrozenBackbone(SupervisedConfig(), backbone=backbone, contract=Contract(classes=("a", "b")))
    with pytest.raises(SpecError, match="no effect: what it keeps at a site, the method never shares"):
        FedBNConfig().build().rules(method)
    assert private_names(FedPerConfig(), method) >= {"head.weight", "head.bias"}


CASES: list[tuple[PersonalisationConfig, Callable[[str], bool]]] = [
    (FedPerConfig(), lambda name: name.startswith("head.")),
    (LGFedAvgConfig(private_layers=1), lambda name: "stages.0" in name),
    (LGFedAvgConfig(private_layers=2), lambda name: "stages." in name),
    (LGFedAvgConfig(private_layers=3), lambda name: name.startswith("backbone.")),
    (FedBNConfig(), lambda name: ".norm." in name),
    (LocalOnlyConfig(), lambda name: True),
]


@pytest.mark.parametrize(("config", "is_private"), CASES)
def test_what_the_paper_keeps_is_private_and_everything_else_is_shared(
    config: PersonalisationConfig, is_private: Callable[[str], bool]
) -> None:
    method = tiny()
    counters = {name for name in method.state_dict() if name.endswith("num_batches_tracked")}
    assert private_names(config, method) == {name for name in method.state_dict() if is_private(name)} | counters


def test_fedbn_knows_every_kind_of_norm() -> None:
    method = tiny(norm="none")
    method.extra = nn.ModuleDict(
        {"layer": nn.LayerNorm(2), "group": nn.GroupNorm(1, 2), "rms": nn.RMSNorm(2), "linear": nn.Linear(1, 1)}
    )
    assert private_names(FedBNConfig(), method) == {
        "extra.layer.weight",
        "extra.layer.bias",
        "extra.group.weight",
        "extra.group.bias",
        "extra.rms.weight",
    }


class WithoutHead(Supervised):
    """A method without a classifier."""

    def __init__(self, method: Supervised) -> None:
        nn.Module.__init__(self)
        self.backbone = method.backbone


@pytest.mark.parametrize(
    ("config", "method", "message"),
    [
        (FedPerConfig(), WithoutHead(tiny()), "choose a method with classes"),
        (LGFedAvgConfig(private_layers=4), tiny(), "the backbone has 3 layers"),
        (FedBNConfig(), tiny(norm="none"), "has none"),
    ],
)
def test_a_personalisation_without_effect_is_refused(
    config: PersonalisationConfig, method: Method, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        config.build().rules(method)


class WithFrozenLayer(Supervised):
    """A method that freezes its first stage and keeps one more entry private."""

    def __init__(self, method: Supervised) -> None:
        nn.Module.__init__(self)
        self.backbone, self.head = method.backbone, method.head
        self.memory = nn.Parameter(torch.zeros(3))

    def rules(self) -> tuple[Rule, ...]:
        return (
            Rule(pattern=r"backbone\.stages\.0\..*", role=Role.FROZEN),
            Rule(pattern=r"memory", role=Role.PRIVATE),
            *super().rules(),
        )


@pytest.mark.parametrize(
    "config", [ChannelDecouplingConfig(), FedPerConfig(), LGFedAvgConfig(), FedBNConfig(), LocalOnlyConfig()]
)
def test_what_the_method_froze_or_kept_stays_so(config: PersonalisationConfig) -> None:
    method = WithFrozenLayer(tiny())
    partition = Partition(manifest_of(method), config.build().rules(method), share=config.share_at(0, 1))
    for name in method.state_dict():
        if name.startswith("backbone.stages.0."):
            assert partition.role(name) is Role.FROZEN
    assert partition.role("memory") is Role.PRIVATE
