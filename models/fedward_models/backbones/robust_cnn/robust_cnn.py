"""Convolutional networks with the robustness of transformers: patches, large kernels, few activations and norms.

Paper: Z. Wang, Y. Bai, Y. Zhou, C. Xie, "Can CNNs Be More Robust Than Transformers?", ICLR 2023,
https://arxiv.org/abs/2206.03452.

Faithful to UCSC-VLAA/RobustCNN (commit 81b4336), whose weights load by their names: a stem without norm or activation,
biases beside norms, one norm and one ReLU a block, no norm before the classifier, stochastic depth that grows linearly.
Differs: the released registry builds a layer scale that its own runs do not have; here there is none unless asked for.
The stem, kernels, norms and activations of the networks that the paper starts from are settings, made from its text,
since their code was not released.

Letters: B batch, C channel, H height, W width, E features.
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.backbones.robust_cnn.block import Block, BlockShape, norm_layer
from fedward_models.backbones.robust_cnn.config import RobustCNNConfig
from fedward_models.backbones.robust_cnn.groups import channel_groups_of


class Stage(nn.Module):
    """Blocks in a row.

    Args:
        shapes: Of its blocks.
    """

    def __init__(self, shapes: list[BlockShape]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(shape) for shape in shapes))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        after: Tensor = self.blocks(features)
        return after


class RobustCNN(Backbone):
    """A stem and stages of blocks.

    Args:
        config: The variant and its sizes.
        image_px: Height and width of the images; what does not fill a patch is cut off.
        channels: Channels of the images.

    Raises:
        SpecError: The images are smaller than the stem's patch.
    """

    def __init__(self, config: RobustCNNConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        smallest = config.patch_px if config.stem == "patch" else 4
        if image_px < smallest:
            raise SpecError(
                f"images of {image_px} pixels are smaller than the stem of robust_cnn, which needs {smallest}: lower "
                "patch_px, or enlarge dataset.image_px"
            )
        self.config, self.image_px = config, image_px
        self.stem = _stem(config, channels)
        shapes = list(_shapes(config))
        self.stages = nn.Sequential(*(Stage(stage) for stage in shapes))
        self.num_features = shapes[-1][-1].outputs
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the last map: (B, C, H, W) to (B, E)."""
        return self.feature_map(images).mean(dim=(2, 3))

    def feature_map(self, images: Tensor) -> Tensor:
        """The last map: (B, C, H, W) to (B, E, h, w)."""
        features: Tensor = self.stages(self.stem(images))
        return features

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The residual streams between projections, and the channels within every block."""
        return channel_groups_of(
            dict(self._named_blocks()), patch_stem=self.config.stem == "patch", norm=self.config.norm
        )

    def layer_of(self, name: str) -> int:
        """The stem 0, blocks from 1."""
        if name.startswith("stem."):
            return 0
        blocks = [block for block, _ in self._named_blocks()]
        return next(index for index, block in enumerate(blocks, start=1) if name.startswith(f"{block}."))

    def num_layers(self) -> int:
        """The stem and all blocks."""
        return sum(self.config.depths) + 1

    def _named_blocks(self) -> Iterator[tuple[str, Block]]:
        for stage, blocks in enumerate(self.config.depths):
            for index in range(blocks):
                name = f"stages.{stage}.blocks.{index}"
                block = self.get_submodule(name)
                assert isinstance(block, Block)
                yield name, block


def _shapes(config: RobustCNNConfig) -> Iterator[list[BlockShape]]:
    rates = iter(_drop_rates(config))
    inputs = config.width
    for stage, blocks in enumerate(config.depths):
        shapes = []
        for stride in _strides(config, stage, blocks):
            shape = BlockShape(
                variant=config.variant,
                inputs=inputs,
                width=config.width * 2**stage,
                stride=stride,
                kernel=config.kernel,
                few=config.few,
                norm=config.norm,
                layer_scale=config.layer_scale,
                drop_path=next(rates),
            )
            inputs = shape.outputs
            shapes.append(shape)
        yield shapes


def _strides(config: RobustCNNConfig, stage: int, blocks: int) -> list[int]:
    """A stage's stride is at its first block; with ``down_inverted`` at the last block of the stage before."""
    if config.variant != "down_inverted":
        return [config.strides[stage], *[1] * (blocks - 1)]
    following = dict(enumerate(after for _, after in pairwise(config.strides)))
    return [*[1] * (blocks - 1), following.get(stage, 1)]


def _drop_rates(config: RobustCNNConfig) -> list[float]:
    last = sum(config.depths) - 1
    return [config.drop_path * (index / last) if last else config.drop_path for index in range(last + 1)]


def _stem(config: RobustCNNConfig, channels: int) -> nn.Module:
    if config.stem == "patch":
        return nn.Conv2d(channels, config.width, config.patch_px, stride=config.patch_px)
    return nn.Sequential(
        nn.Conv2d(channels, config.width, 7, stride=2, padding=3),
        norm_layer(config.norm, config.width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.get_parameter("bias"))
