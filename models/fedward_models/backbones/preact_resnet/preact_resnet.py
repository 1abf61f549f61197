"""The pre-activation residual network for images of 32 x 32 pixels and more.

Papers: K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016,
https://arxiv.org/abs/1603.05027; the form and the names of entries are those of locuslab/fast_adversarial (commit
54f7287, CIFAR10/preact_resnet.py) and tml-epfl/understanding-fast-adv-training (commit ceed494, models.py).

Faithful: where a block changes its width or resolution, the projection reads the block's raw input, not the normed one.
Differs: the map is pooled as a whole instead of by 4 x 4 windows, so that other sizes and strides fit.

Letters: B batch, C channel, H height, W width, E features.
"""

import math

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Activation, Axis, Backbone, ChannelGroup, norm_axes
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.layers.activation import ActivationName, activation

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_SMALLEST_PX = 8


class PreActResNet(Backbone):
    """Four stages of pre-activation blocks.

    Args:
        config: Depth, width, activation, strides.
        image_px: Height and width of the images.
        channels: Channels of the images.

    Raises:
        SpecError: The images are too small.
    """

    def __init__(self, config: PreActResNetConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        if image_px < _SMALLEST_PX * config.stem_stride:
            raise SpecError(
                f"images of {image_px} pixels are too small for preact_resnet with stem_stride {config.stem_stride}: "
                f"expected at least {_SMALLEST_PX * config.stem_stride}. Enlarge dataset.image_px"
            )
        self.config, self.image_px = config, image_px
        widths = [config.width * 2**stage for stage in range(4)]
        self.num_features = widths[-1]
        self.conv1 = nn.Conv2d(channels, config.width, 3, stride=config.stem_stride, padding=1, bias=False)
        inputs = config.width
        for stage, (width, blocks) in enumerate(zip(widths, _BLOCKS[config.depth], strict=True), start=1):
            self.add_module(f"layer{stage}", _stage(inputs, width, blocks, 1 if stage == 1 else 2, config.activation))
            inputs = width
        if config.final_norm:
            self.bn = nn.BatchNorm2d(self.num_features)
            self.act = activation(config.activation)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the last map: (B, C, H, W) to (B, E)."""
        return self.feature_map(images).mean(dim=(2, 3))

    def feature_map(self, images: Tensor) -> Tensor:
        """The last map: (B, C, H, W) to (B, E, h, w), where h and w are an eighth of the image's over the stride."""
        features: Tensor = self.conv1(images)
        for stage in self._stages():
            features = stage(features)
        return self.act(self.bn(features)) if self.config.final_norm else features

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The residual stream of every stage, and the channels within every block."""
        blocks = self._block_names()
        inner = tuple(self._inner(name) for name in blocks)
        return (*(self._stream(stage) for stage in range(1, 5)), *inner)

    def layer_of(self, name: str) -> int:
        """The first convolution 0, blocks from 1; the last norm goes with the head."""
        if name.startswith("conv1."):
            return 0
        if name.startswith("bn."):
            return self.num_layers()
        return self._block_names().index(".".join(name.split(".")[:2])) + 1

    def num_layers(self) -> int:
        """The first convolution and all blocks."""
        return sum(_BLOCKS[self.config.depth]) + 1

    def _stages(self) -> tuple[nn.Module, ...]:
        return tuple(self.get_submodule(f"layer{stage}") for stage in range(1, 5))

    def _block_names(self) -> list[str]:
        counts = _BLOCKS[self.config.depth]
        return [f"layer{stage}.{index}" for stage in range(1, 5) for index in range(counts[stage - 1])]

    def _stream(self, stage: int) -> ChannelGroup:
        """What the blocks of a stage add into; the first stage goes on with the first convolution's channels."""
        own = [name for name in self._block_names() if name.startswith(f"layer{stage}.")]
        projects = stage > 1
        sources = [f"{name}.conv2" for name in own] + [f"{own[0]}.shortcut.0" if projects else "conv1"]
        # The blocks that read this stream: those after the first of this stage, and the first of the next one.
        readers = own[1:] if projects else own
        following = f"layer{stage + 1}.0" if stage < 4 else None
        convs = [f"{name}.conv1" for name in (*readers, *([following] if following else []))]
        norms = [name.removesuffix(".conv1") + ".bn1" for name in convs] + ([] if following else self._last_norm())
        inputs = [f"{name}.weight" for name in convs] + ([f"{following}.shortcut.0.weight"] if following else [])
        return ChannelGroup(
            name=f"layer{stage}",
            channels=self.config.width * 2 ** (stage - 1),
            outputs=(
                *(Axis(tensor=f"{name}.weight") for name in sources),
                *(axis for name in norms for axis in norm_axes(name)),
            ),
            inputs=tuple(Axis(tensor=name, dim=1) for name in inputs),
            activations=(
                *(Activation(module=name) for name in (*own, *(() if projects else ("conv1",)))),
                # Norms and activations fill zeros again, so the readers' own inputs are masked too.
                *(Activation(module=name, before=True) for name in convs),
            ),
            feeds_head=following is None,
        )

    def _last_norm(self) -> list[str]:
        return ["bn"] if self.config.final_norm else []

    def _inner(self, block: str) -> ChannelGroup:
        weight = self.get_parameter(f"{block}.conv1.weight")
        return ChannelGroup(
            name=block,
            channels=len(weight),
            outputs=(Axis(tensor=f"{block}.conv1.weight"), *norm_axes(f"{block}.bn2")),
            inputs=(Axis(tensor=f"{block}.conv2.weight", dim=1),),
            activations=(Activation(module=f"{block}.conv2", before=True),),
        )


class PreActBlock(nn.Module):
    """Norm, activation and convolution, twice, beside a shortcut.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the first convolution.
        act: The activation's name.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, act: ActivationName) -> None:
        super().__init__()
        self.bn1, self.act1 = nn.BatchNorm2d(inputs), activation(act)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2, self.act2 = nn.BatchNorm2d(outputs), activation(act)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        projects = stride > 1 or inputs != outputs
        projection = [nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)] if projects else []
        self.shortcut = nn.Sequential(*projection)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        inner = self.conv1(self.act1(self.bn1(features)))
        branch: Tensor = self.conv2(self.act2(self.bn2(inner)))
        shortcut: Tensor = self.shortcut(features)
        return branch + shortcut


def _stage(inputs: int, width: int, blocks: int, stride: int, act: ActivationName) -> nn.Sequential:
    first = PreActBlock(inputs, width, stride, act)
    return nn.Sequential(first, *(PreActBlock(width, width, 1, act) for _ in range(blocks - 1)))


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """As in: tml-epfl/understanding-fast-adv-training, models.py: a variance of 2 over kernel size times outputs."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
