"""The residual network of bottlenecks over images, in the form whose weights are published.

Paper: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385.

Faithful to torchvision and timm: the stride is in the 3 x 3 convolution, entries have the same names, and so the files
of both load. The blocks are timm's. As in: HKU-MedAI/MGCA, commit 680fe4a, images may be enlarged first.

Letters: B batch, C channel, H height, W width, E features.
"""

from itertools import chain

from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Activation, Axis, Backbone, ChannelGroup, norm_axes
from fedward_models.backbones.resnet.config import ResNetConfig

_SMALLEST_PX = 32  # the last map has a 32nd of the side
_EXPANSION = Bottleneck.expansion


class ResNet(Backbone):
    """Four stages of bottlenecks.

    Args:
        config: Its settings.
        image_px: Height and width of the images.
        channels: Channels of the images.

    Attributes:
        widths: Channels of each of the :meth:`maps`.

    Raises:
        SpecError: The images are too small, or would be shrunk.
    """

    def __init__(self, config: ResNetConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        _check_size(config, image_px)
        self.config, self.image_px = config, image_px
        stem = config.width
        self.widths = (stem, *(_EXPANSION * stem * 2**stage for stage in range(4)))
        self.num_features = self.widths[-1]
        self.conv1 = nn.Conv2d(channels, stem, 7, stride=2, padding=3, bias=False)
        self.bn1, self.act1 = nn.BatchNorm2d(stem), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for stage, blocks in enumerate(config.depths):
            planes, stride = stem * 2**stage, 1 if stage == 0 else 2
            self.add_module(f"layer{stage + 1}", _stage(self.widths[stage], planes, blocks, stride))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the last map: (B, C, H, W) to (B, E)."""
        return self.feature_map(images).mean(dim=(2, 3))

    def feature_map(self, images: Tensor) -> Tensor:
        """The last map, a 32nd of the side: (B, C, H, W) to (B, E, h, w)."""
        return self.maps(images)[-1]

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of the stem, before its pooling, and of the four stages: a half to a 32nd of the side.

        Args:
            images: (B, C, H, W), float, standardised.

        Returns:
            Five maps (B, widths[i], h, w), the finest first.
        """
        if self.config.input_px:
            side = (self.config.input_px,) * 2
            images = functional.interpolate(images, size=side, mode="bilinear", align_corners=True)
        maps = [self.act1(self.bn1(self.conv1(images)))]
        features = self.maxpool(maps[0])
        for stage in range(1, 5):
            features = self.get_submodule(f"layer{stage}")(features)
            maps.append(features)
        return tuple(maps)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The stem, the residual stream of every stage, and the channels within every block."""
        blocks = chain.from_iterable(self._blocks(stage) for stage in range(1, 5))
        inner = chain.from_iterable(self._within(block) for block in blocks)
        return (self._stem(), *(self._stream(stage) for stage in range(1, 5)), *inner)

    def layer_of(self, name: str) -> int:
        """The first convolution 0, blocks from 1."""
        if not name.startswith("layer"):
            return 0
        stage, block = (int(part) for part in name.removeprefix("layer").split(".")[:2])
        return sum(self.config.depths[: stage - 1]) + block + 1

    def num_layers(self) -> int:
        """The first convolution and all blocks."""
        return sum(self.config.depths) + 1

    def _blocks(self, stage: int) -> list[str]:
        return [f"layer{stage}.{block}" for block in range(self.config.depths[stage - 1])]

    def _stem(self) -> ChannelGroup:
        return ChannelGroup(
            name="conv1",
            channels=self.widths[0],
            outputs=_outputs("conv1", "bn1"),
            inputs=_inputs("layer1.0.conv1", "layer1.0.downsample.0"),
            activations=(Activation(module="act1"),),
        )

    def _stream(self, stage: int) -> ChannelGroup:
        """What the blocks of a stage add into; its first block and its shortcut read the stream before."""
        first, *others = blocks = self._blocks(stage)
        sources = [(f"{block}.conv3", f"{block}.bn3") for block in blocks]
        sources.append((f"{first}.downsample.0", f"{first}.downsample.1"))
        readers = [f"{block}.conv1" for block in others]
        if stage < 4:
            readers += [f"layer{stage + 1}.0.conv1", f"layer{stage + 1}.0.downsample.0"]
        return ChannelGroup(
            name=f"layer{stage}",
            channels=self.widths[stage],
            outputs=tuple(chain.from_iterable(_outputs(*source) for source in sources)),
            inputs=_inputs(*readers),
            activations=tuple(Activation(module=block) for block in blocks),
            feeds_head=stage == 4,
        )

    def _within(self, block: str) -> tuple[ChannelGroup, ...]:
        channels = len(self.get_parameter(f"{block}.bn1.weight"))
        return tuple(
            ChannelGroup(
                name=f"{block}.conv{number}",
                channels=channels,
                outputs=_outputs(f"{block}.conv{number}", f"{block}.bn{number}"),
                inputs=_inputs(f"{block}.conv{number + 1}"),
                activations=(Activation(module=f"{block}.act{number}"),),
            )
            for number in (1, 2)
        )


def _stage(inputs: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    outputs = _EXPANSION * planes
    # In every stage the first block changes the width, so the shortcut projects.
    projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    first = Bottleneck(inputs, planes, stride=stride, downsample=projection)
    return nn.Sequential(first, *(Bottleneck(outputs, planes) for _ in range(blocks - 1)))


def _outputs(conv: str, norm: str) -> tuple[Axis, ...]:
    return (Axis(tensor=f"{conv}.weight"), *norm_axes(norm))


def _inputs(*convs: str) -> tuple[Axis, ...]:
    return tuple(Axis(tensor=f"{conv}.weight", dim=1) for conv in convs)


def _initialise(module: nn.Module) -> None:
    """As in torchvision: a variance of 2 over kernel size times outputs (He et al., ICCV 2015)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _check_size(config: ResNetConfig, image_px: int) -> None:
    if config.input_px is not None and config.input_px < image_px:
        raise SpecError(f"resnet enlarges images of {image_px} pixels, found input_px {config.input_px}: raise it")
    if (config.input_px or image_px) < _SMALLEST_PX:
        raise SpecError(
            f"images of {image_px} pixels are too small for resnet: expected at least {_SMALLEST_PX}. Set input_px, or "
            "enlarge dataset.image_px"
        )
