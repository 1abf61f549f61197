"""The couplings block and branch, on plain, residual, grouped and depthwise networks."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.partition import Partition
from fedward_core.spec import Local
from fedward_models.backbones.backbone import Activation, Axis, Backbone, ChannelGroup
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.branches import Branches
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.halves import Half, gates, only
from fedward_models.step import Clock
from fedward_models.training.config import AdamWConfig, SGDConfig
from fedward_models.training.optimizer import build_optimizer

HALF = Fraction(1, 2)


class Residual(Backbone):
    """A stem, a depthwise and a grouped convolution whose results join the stem's, and a 1 x 1 shortcut of its own.

    images -> stem (6) -+-> depthwise (6) -+-> [shortcut 6 -> 4] + [grouped 6 -> 4 in two groups] -> mean -> features
                        +------------------+
    """

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.grouped = nn.Conv2d(6, 4, 1, groups=2)
        self.shortcut = nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        stream = functional.relu(self.norm(self.stem(images)))
        stream = stream + functional.relu(self.depthwise(stream))
        features: Tensor = (self.grouped(stream) + self.shortcut(stream)).mean(dim=(2, 3))
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def layer_of(self, name: str) -> int:
        return 0

    def num_layers(self) -> int:
        return 1

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The stream in two units, so that a private half of it ends at the border of the grouped convolution."""
        norm = ("weight", "bias", "running_mean", "running_var")
        stream = [f"{layer}.{part}" for layer in ("stem", "depthwise") for part in ("weight", "bias")]
        stream += [f"norm.{part}" for part in norm]
        above = [f"{layer}.{part}" for layer in ("grouped", "shortcut") for part in ("weight", "bias")]
        return (
            ChannelGroup(
                name="stream",
                channels=2,
                outputs=tuple(Axis(tensor=tensor, unit=3) for tensor in stream),
                inputs=(Axis(tensor="shortcut.weight", dim=1, unit=3),),
                activations=tuple(Activation(module=module, unit=3) for module in ("norm", "depthwise")),
            ),
            ChannelGroup(
                name="features",
                channels=2,
                outputs=tuple(Axis(tensor=tensor, unit=2) for tensor in above),
                activations=tuple(Activation(module=module, unit=2) for module in ("grouped", "shortcut")),
                feeds_head=True,
                head_unit=2,
            ),
        )


def networks() -> dict[str, Backbone]:
    torch.manual_seed(0)
    plain: dict[str, Any] = {"widths": (4, 6), "hidden": (6,)}
    return {
        "norms": SmallCNNConfig(**plain).build(image_px=8, channels=1),
        "biases": SmallCNNConfig(**plain, norm="none").build(image_px=8, channels=1),
        "flat": SmallCNNConfig(widths=(4, 6), hidden=(), norm="none").build(image_px=8, channels=1),
        "residual": Residual(),
    }


everywhere = pytest.mark.parametrize("network", ["norms", "biases", "flat", "residual"])
couplings = pytest.mark.parametrize("coupling", ["rows", "block", "branch"])


def method_over(backbone: Backbone) -> Method:
    torch.manual_seed(1)
    method: Method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    nn.init.normal_(method.get_parameter("head.weight"))
    nn.init.normal_(method.get_parameter("head.bias"))
    return method


def partition_of(method: Method, coupling: str, share: Fraction = HALF) -> Partition:
    rules = ChannelDecouplingConfig.default(coupling=coupling).build().rules(method)
    return Partition(manifest_of(method), rules, share=share)


def batch() -> Batch:
    return Batch(images=torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(2)), labels=torch.arange(6) % 3)


def half_logits(method: Method, half: Half) -> Tensor:
    with only(half, method, gates(method, HALF)):
        return method.logits(batch().images)


def trained_as_branches(method: Method, optimizer: Any, steps: int = 3) -> Partition:
    """A few steps with the weights between the halves held at zero."""
    partition = partition_of(method, "branch")
    term = Branches(partition)
    term.begin(method)
    updates = build_optimizer(method, dict(method.named_parameters()), Local(optimizer=optimizer))
    for _ in range(steps):
        updates.zero_grad()
        torch.autograd.backward(method.training_step(batch(), Clock()).loss)
        term.after_backward(method)
        updates.step()
    return partition


@everywhere
@couplings
def test_a_pass_through_one_half_is_blind_to_all_that_the_other_owns(network: str, coupling: str) -> None:
    method = method_over(networks()[network]).eval()
    partition = partition_of(method, coupling)
    before = {half: half_logits(method, half) for half in Half}
    for name, tensor in method.state_dict().items():
        shared, crossing = partition.shared_mask(name), partition_of(method, "block").crossing_mask(name)
        if shared is not None:
            mask = ~torch.from_numpy(shared)
            if crossing is not None:
                mask |= torch.from_numpy(crossing)
            tensor[mask] += 1.5
    assert torch.equal(half_logits(method, Half.SHARED), before[Half.SHARED])
    assert not torch.allclose(half_logits(method, Half.PRIVATE), before[Half.PRIVATE])


@everywhere
def test_the_shared_part_of_a_block_is_all_that_its_pass_reads(network: str) -> None:
    """It is a network of its own: no gradient of its pass reaches what stays at a site."""
    method = method_over(networks()[network])
    partition = partition_of(method, "block")
    torch.autograd.backward(half_logits(method, Half.SHARED).square().sum())
    for name, parameter in method.named_parameters():
        shared = partition.shared_mask(name)
        assert parameter.grad is not None
        if shared is not None:
            assert parameter.grad[~torch.from_numpy(shared)].abs().sum() == 0


@everywhere
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_logits_of_branches_add_up_with_the_bias_counted_once(network: str, mode: str) -> None:
    method = method_over(networks()[network])
    Branches(partition_of(method, "branch")).begin(method)
    method.train(mode == "train")
    halves = half_logits(method, Half.SHARED) + half_logits(method, Half.PRIVATE) - method.get_parameter("head.bias")
    torch.testing.assert_close(halves, method.logits(batch().images), rtol=1e-5, atol=1e-5)


@everywhere
@pytest.mark.parametrize("optimizer", [SGDConfig(lr=0.1, weight_decay=0.01), AdamWConfig(lr=0.01)])
def test_training_brings_no_weight_between_branches_back(network: str, optimizer: Any) -> None:
    method = method_over(networks()[network]).train()
    partition = trained_as_branches(method, optimizer)
    found = [name for name in partition.manifest.names() if partition.crossing_mask(name) is not None]
    assert found
    for name in found:
        assert method.get_parameter(name)[torch.from_numpy(partition.crossing_mask(name))].abs().sum() == 0


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1, "momentum": 0.5}, {"name": "adamw", "lr": 0.01}])
def test_moments_that_were_kept_bring_no_weight_between_branches_back(
    federate: Callable[..., Any], optimizer: dict[str, Any]
) -> None:
    """As the share grows, weights come to lie between the halves that were trained in the round before."""
    decoupled = {"name": "channel_decoupling", "coupling": "branch", "ramp_rounds": 2, "temporal_averaging": None}
    federation = federate(decoupled, local={"optimizer": optimizer, "optimizer_state": "keep"}).run(3)
    partition = federation.plan.partition(federation.stage.share_at(2))
    found = [name for name in partition.manifest.names() if partition.crossing_mask(name) is not None]
    assert found
    for name in found:
        assert federation.method.get_parameter(name)[torch.from_numpy(partition.crossing_mask(name))].abs().sum() == 0


def test_branches_refuse_steps_that_go_uphill_first(federate: Callable[..., Any]) -> None:
    """On the way the weights between the halves would not be zero."""
    local = {"sam_rho": 0.05}
    with pytest.raises(ValidationError, match=r"'branch' keeps weights at zero that local\.sam_rho would move"):
        federate({"name": "channel_decoupling", "coupling": "branch"}, local=local)
    federate({"name": "channel_decoupling", "coupling": "rows"}, local=local)


def test_an_evaluation_before_any_training_sees_no_weight_between_branches() -> None:
    method = method_over(networks()["biases"])
    personalisation = ChannelDecouplingConfig(coupling="branch").build()
    evaluated = personalisation.evaluated(method, partition_of(method, "branch"))
    halves = half_logits(evaluated, Half.SHARED) + half_logits(evaluated, Half.PRIVATE)
    expected = halves - method.get_parameter("head.bias")
    torch.testing.assert_close(expected, evaluated.logits(batch().images), rtol=1e-5, atol=1e-5)


def test_the_border_of_a_grouped_convolution_is_never_crossed() -> None:
    """Whatever the share, whole groups are shared or private."""
    method = method_over(Residual())
    for share in (Fraction(1, 10), Fraction(1, 3), Fraction(9, 10)):
        mask = partition_of(method, "rows", share).shared_mask("backbone.grouped.weight")
        assert mask is not None
        assert mask[:, 0, 0, 0].tolist() == [True, True, False, False]


def test_layers_of_one_residual_stream_are_cut_alike() -> None:
    partition = partition_of(method_over(Residual()), "rows")
    for layer in ("stem.weight", "depthwise.weight", "norm.running_var"):
        mask = partition.shared_mask(f"backbone.{layer}")
        assert mask is not None
        assert mask.reshape(6, -1)[:, 0].tolist() == [True] * 3 + [False] * 3


def test_rows_of_a_transformer_share_its_projections_and_a_block_only_what_reads_shared_heads() -> None:
    method = method_over(ViTConfig(width=16, depth=1, heads=4, patch_px=4).build(image_px=8, channels=1))
    name = "backbone.blocks.0.attn.proj.weight"
    assert partition_of(method, "rows").shared_mask(name) is None
    mask = partition_of(method, "block").shared_mask(name)
    assert mask is not None
    assert mask[0].tolist() == [True] * 8 + [False] * 8


def test_a_network_whose_norms_mix_channels_cannot_be_two_branches() -> None:
    method = method_over(ViTConfig(width=16, depth=1, heads=4, patch_px=4).build(image_px=8, channels=1))
    with pytest.raises(SpecError, match="LayerNorm mixes channels: choose coupling 'rows' or 'block'"):
        partition_of(method, "branch")


@couplings
def test_there_is_nothing_between_the_halves_where_one_is_missing(coupling: str) -> None:
    method = method_over(networks()["norms"])
    for share in (Fraction(0), Fraction(1)):
        partition = partition_of(method, coupling, share)
        assert all(partition.crossing_mask(name) is None for name in partition.manifest.names())
