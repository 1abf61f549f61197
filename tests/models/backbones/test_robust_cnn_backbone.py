"""RobustCNN: counts, shapes, what happens in a block, the axes of its ablations, and its life in a federation."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from timm.layers.drop import DropPath
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.aggregation.weighted_mean import WeightedMean
from fedward_core.arrays import Arrays
from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.manifest import Kind, Manifest
from fedward_core.partition import Partition
from fedward_core.update import SHARED, Update
from fedward_models.backbones.robust_cnn.block import Block, BlockShape
from fedward_models.backbones.robust_cnn.config import RobustCNNConfig, Variant
from fedward_models.backbones.robust_cnn.robust_cnn import RobustCNN
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.corruptions.imagenet_r import among, imagenet_r_classes
from fedward_models.losses.label_losses import classification_loss
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.weights import arrays_of

PUBLISHED: dict[str, dict[str, Any]] = {
    "dw": {"depths": (3, 4, 12, 3), "kernel": 11, "parameters": 38_558_440, "scaled": 38_590_312, "buffers": 27_482},
    "inverted": {
        "depths": (3, 4, 14, 3),
        "kernel": 7,
        "parameters": 33_618_088,
        "scaled": 33_626_824,
        "buffers": 72_603,
    },
    "up_inverted": {
        "depths": (3, 4, 14, 3),
        "kernel": 11,
        "parameters": 34_432_552,
        "scaled": 34_441_288,
        "buffers": 20_187,
    },
    "down_inverted": {
        "depths": (3, 4, 15, 3),
        "kernel": 11,
        "parameters": 34_316_776,
        "scaled": 34_325_896,
        "buffers": 76_445,
    },
}
MULTIPLY_ADDS = {"dw": 4.474e9, "inverted": 4.566e9, "up_inverted": 4.419e9, "down_inverted": 4.530e9}
FEATURES = {"dw": 3072, "inverted": 768, "up_inverted": 768, "down_inverted": 768}

every_variant = pytest.mark.parametrize("variant", get_args(Variant))


def published(variant: Variant, *, image_px: int = 224, **settings: Any) -> RobustCNN:
    """A network of full size, without numbers."""
    config = RobustCNNConfig(variant=variant, width=96, depths=PUBLISHED[variant]["depths"], **settings)
    with torch.device("meta"):
        backbone = config.build(image_px=image_px, channels=3)
    assert isinstance(backbone, RobustCNN)
    return backbone


def small(variant: Variant = "up_inverted", *, image_px: int = 32, channels: int = 3, **settings: Any) -> RobustCNN:
    sizes: dict[str, Any] = {"width": 4, "depths": (2, 2), "strides": (1, 2), "patch_px": 4, "kernel_px": 3}
    if settings.get("stem") == "conv":
        del sizes["patch_px"]
    backbone = RobustCNNConfig(variant=variant, **{**sizes, **settings}).build(image_px=image_px, channels=channels)
    assert isinstance(backbone, RobustCNN)
    return backbone.eval()


def blocks(backbone: RobustCNN) -> list[Block]:
    return [module for module in backbone.modules() if isinstance(module, Block)]


@every_variant
def test_the_published_networks_have_their_counts(variant: Variant) -> None:
    """Check 1, on the meta device, with a linear head of 1000 classes."""
    for layer_scale, count in ((0.0, "parameters"), (1e-6, "scaled")):
        backbone = published(variant, layer_scale=layer_scale)
        head = 1000 * (backbone.num_features + 1)
        assert sum(p.numel() for p in backbone.parameters()) + head == PUBLISHED[variant][count]
    assert sum(b.numel() for b in backbone.buffers()) == PUBLISHED[variant]["buffers"]


@every_variant
def test_the_published_networks_have_their_cost(variant: Variant) -> None:
    """Check 2: multiply-adds of convolutions and the head, within 0.1 %."""
    backbone = published(variant).eval()
    total = 1000 * backbone.num_features

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * module.get_parameter("weight")[0].numel()

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    backbone(torch.empty(1, 3, 224, 224, device="meta"))
    assert total == pytest.approx(MULTIPLY_ADDS[variant], rel=1e-3)


@every_variant
@pytest.mark.parametrize(("image_px", "side"), [(224, 14), (192, 12), (230, 14)])
def test_maps_have_their_shapes(variant: Variant, image_px: int, side: int) -> None:
    """Check 3."""
    backbone = published(variant, image_px=image_px).eval()
    features = backbone.stem(torch.empty(1, 3, image_px, image_px, device="meta"))
    shapes = [tuple(features.shape[1:])]
    for stage in backbone.stages:
        features = stage(features)
        shapes.append(tuple(features.shape[1:]))
    widths = [4 * 96 * 2**stage if variant == "dw" else 96 * 2**stage for stage in range(4)]
    sides = [side, side, side // 2 if variant == "down_inverted" else side, side // 2]
    assert shapes == [(96, side, side), *((width, s, s) for width, s in zip(widths, sides, strict=True))]
    assert backbone.num_features == FEATURES[variant]


@every_variant
def test_norms_and_activations_are_as_few_as_published(variant: Variant) -> None:
    """Check 4: in the order of execution."""
    backbone, ran = published(variant).eval(), []
    for module in backbone.modules():
        if isinstance(module, (nn.Conv2d, nn.ReLU, _BatchNorm)):
            module.register_forward_hook(lambda module, *_: ran.append(type(module)))
    backbone(torch.empty(1, 3, 224, 224, device="meta"))
    expected = {"dw": (22, 26), "inverted": (24, 27), "up_inverted": (24, 27), "down_inverted": (25, 29)}
    assert (ran.count(nn.ReLU), ran.count(nn.BatchNorm2d)) == expected[variant]
    assert ran[:2] == [nn.Conv2d, nn.Conv2d]


@every_variant
def test_kernels_and_the_one_stride_are_where_they_should_be(variant: Variant) -> None:
    """Check 5."""
    found = blocks(published(variant))
    convs = [block.get_submodule("conv_dw") for block in found]
    assert all(isinstance(conv, nn.Conv2d) for conv in convs)
    assert {conv.kernel_size for conv in convs} == {(PUBLISHED[variant]["kernel"],) * 2}
    strided = [index for index, conv in enumerate(convs) if conv.stride != (1, 1)]
    assert strided == [{"dw": 19}.get(variant, 21)]


@every_variant
def test_skipping_grows_linearly_to_its_argument(variant: Variant) -> None:
    """Check 6."""
    rates = [block.drop_path.drop_prob for block in blocks(published(variant, drop_path=0.1))]
    assert rates[0] == 0
    assert rates[-1] == 0.1
    assert np.allclose(np.diff(rates), 0.1 / (len(rates) - 1))
    assert all(isinstance(block.drop_path, DropPath) for block in blocks(published(variant)))


def test_the_stem_is_a_linear_map_of_patches() -> None:
    """Check 7."""
    stem, images = small(patch_px=8).stem, torch.randn(2, 3, 32, 32)
    assert isinstance(stem, nn.Conv2d)
    assert stem.bias is not None
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(2, 4, 4, -1)
    linear = patches @ stem.weight.reshape(4, -1).T + stem.bias
    torch.testing.assert_close(stem(images), linear.permute(0, 3, 1, 2), atol=1e-5, rtol=0)
    embed = PatchEmbed(img_size=32, patch_size=8, in_chans=3, embed_dim=4)
    embed.proj.load_state_dict(stem.state_dict())
    torch.testing.assert_close(stem(images).flatten(2).transpose(1, 2), embed(images), atol=1e-5, rtol=0)


def test_moving_the_image_by_a_patch_moves_the_stems_map_by_a_place() -> None:
    """Check 8."""
    stem, images = small(patch_px=8).stem, torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(stem(images.roll(8, 3)), stem(images).roll(1, 3))
    assert not torch.allclose(stem(images.roll(4, 3)), stem(images).roll(1, 3), atol=1e-2)


@every_variant
def test_a_silent_branch_leaves_the_shortcut(variant: Variant) -> None:
    """Check 9."""
    inputs = 16 if variant == "dw" else 4
    block = Block(BlockShape(variant=variant, inputs=inputs, width=4, kernel=3)).eval()
    last = block.get_submodule(block.convolutions[-1].name)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    features = torch.randn(2, inputs, 5, 5)
    torch.testing.assert_close(block(features), features.relu() if variant == "dw" else features)


@every_variant
def test_the_norm_folds_into_the_convolution_before_it(variant: Variant) -> None:
    """Check 10."""
    inputs = 16 if variant == "dw" else 4
    block = Block(BlockShape(variant=variant, inputs=inputs, width=4, kernel=3)).eval()
    norm = next(module for name, module in block.named_children() if name.startswith("norm"))
    conv = block.get_submodule(block.convolutions[0].name)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
        tensor.add_(torch.randn_like(tensor) * 0.3)
    norm.running_var.mul_(2.5)
    features = torch.randn(2, inputs, 6, 6)
    expected = block(features)
    scale = norm.weight.data / (norm.running_var + norm.eps).sqrt()
    conv.weight.data *= scale[:, None, None, None]
    conv.bias.data = (conv.bias.data - norm.running_mean) * scale + norm.bias.data
    norm.reset_parameters()
    norm.eps = 0.0
    torch.testing.assert_close(block(features), expected, atol=1e-4, rtol=0)


def test_only_the_first_variant_gives_the_head_rectified_features() -> None:
    """Check 11."""
    images = torch.randn(4, 3, 32, 32)
    assert bool((small("dw")(images) >= 0).all())
    signs = small("inverted")(images).sign()
    assert {-1.0, 1.0} <= set(signs.flatten().tolist())


def method(num_classes: int = 3) -> Supervised:
    classes = tuple(f"class {index}" for index in range(num_classes))
    built = SupervisedConfig(label_smoothing=0.1, mixup=0.8, cutmix=1.0).build(
        backbone=small(), contract=Contract(classes=classes, channels=3)
    )
    assert isinstance(built, Supervised)
    return built


def test_another_number_of_classes_leaves_the_trunk() -> None:
    """Check 13."""
    source, target = method(3), method(5)
    inheritance = target.inherit(source.state_dict(), source)
    assert set(inheritance.new) == {"head.weight", "head.bias"}
    known = source.state_dict()
    assert all(torch.equal(t, known[name]) for name, t in target.state_dict().items() if name.startswith("backbone."))


def test_mixed_targets_sum_to_one_and_zero_logits_cost_the_logarithm_of_the_classes() -> None:
    """Check 15."""
    labels = torch.arange(6) % 3
    for seed in range(6):
        mixed = method().prepare(
            Batch(images=torch.randn(6, 3, 32, 32), labels=labels), torch.Generator().manual_seed(seed)
        )
        assert mixed.labels is not None
        torch.testing.assert_close(mixed.labels.sum(dim=1), torch.ones(6))
    loss = classification_loss(torch.zeros(2, 1000), torch.tensor([3, 999]), label_smoothing=0.1)
    torch.testing.assert_close(loss, torch.full((2,), 6.9078), atol=1e-4, rtol=0)
    one_hot = torch.eye(3)[labels]
    smooth = classification_loss(torch.ones(6, 3).cumsum(1), labels, label_smoothing=0.1)
    torch.testing.assert_close(classification_loss(torch.ones(6, 3).cumsum(1), one_hot, label_smoothing=0.1), smooth)


def test_renditions_are_judged_among_their_two_hundred_classes() -> None:
    """Check 17."""
    classes = imagenet_r_classes()
    assert len(classes) == len(set(classes.tolist())) == 200
    assert classes.tolist() == sorted(classes.tolist())
    logits = torch.randn(3, 1000)
    assert torch.equal(among(logits, classes), torch.stack([logits[:, k] for k in classes.tolist()], dim=1))


def test_counters_do_not_travel_and_the_mean_of_identical_sites_is_each_of_them() -> None:
    """Check 19."""
    trained = method().train()
    trained.backbone(torch.randn(4, 3, 32, 32))
    manifest = manifest_of(trained)
    partition = Partition(manifest, trained.rules())
    assert not set(partition.shared_manifest.names()) & set(manifest.names(Kind.COUNTER))
    shared, private = partition.split(arrays_of(trained))
    assert any(name.endswith("running_var") for name in shared)
    mean = mean_of_sites(shared, {"north": 3, "south": 7})
    assert set(mean) == set(shared)
    assert all(np.array_equal(mean[name], array) for name, array in shared.items())
    counters = {name: array for name, array in private.items() if name.endswith("num_batches_tracked")}
    assert counters
    assert {array.dtype.kind for array in counters.values()} == {"i"}


def mean_of_sites(arrays: Arrays, num_examples: dict[str, int]) -> Arrays:
    """What the coordinator makes of sites that all send the same."""
    aggregator = WeightedMean(WeightedMeanConfig())
    aggregator.begin(Manifest.of(arrays))
    for site, count in num_examples.items():
        sent = {name: array.copy() for name, array in arrays.items()}
        aggregator.add(
            Update(site=site, round=0, parent="0" * 64, num_examples=count, num_steps=1, groups={SHARED: sent})
        )
    return aggregator.finish(arrays)


@every_variant
@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("kernel_px", [3, 7])
def test_every_corner_of_the_ablation_works(variant: Variant, few: bool, stem: str, kernel_px: int) -> None:
    backbone = small(variant, few=few, stem=stem, kernel_px=kernel_px)
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, backbone.num_features)
    for block in blocks(backbone):
        branch = [type(module) for name, module in block.named_children() if name.startswith(("norm", "act"))]
        assert branch.count(nn.BatchNorm2d) == (1 if few else 3)
        own = branch.count(nn.ReLU)
        assert own == (1 if few else 2 if variant != "dw" else 3)
    state = backbone.state_dict()
    for group in backbone.channel_groups():
        for axis in (*group.outputs, *group.inputs):
            assert state[axis.tensor].shape[axis.dim] == axis.tiles * group.channels * axis.unit, (group.name, axis)


@every_variant
def test_every_norm_and_convolution_belongs_to_a_group(variant: Variant) -> None:
    """A weight that no group names would travel whole between sites that cut the channels around it."""
    backbone = small(variant, few=False)
    named = {axis.tensor for group in backbone.channel_groups() for axis in group.outputs}
    numbers = {name for name, tensor in backbone.state_dict().items() if tensor.ndim}
    assert numbers == named


def test_group_norms_take_the_place_of_batch_norms() -> None:
    backbone = small(norm="group", width=6)
    assert not [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module for module in backbone.modules() if isinstance(module, nn.GroupNorm)]
    assert list(backbone.buffers()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": (1, 2)}, "need as many strides"),
        ({"strides": (2, 1, 1, 2)}, "first stage follows the stem"),
        ({"kernel_px": 4}, "odd number"),
        ({"stem": "conv", "patch_px": 8}, "patch_px has no effect"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RobustCNNConfig(**settings)


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(SpecError, match="smaller than the stem"):
        small(image_px=3)
