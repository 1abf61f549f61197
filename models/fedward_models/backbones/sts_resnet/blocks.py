"""Blocks of residual networks of clips, all with plain 3D convolutions.

Modules have the names of the published code (UCSC-VLAA/Image-Pretraining-for-Video, commit c52c946), so that released
weights load. Strides are in height and width; no block has one in time.

Letters: B batch, C channel, T frame, H height, W width.
"""

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from math import gcd
from typing import Literal

from torch import Tensor, nn

Norm = Literal["batch", "group"]
Kernel = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """What all blocks with a narrow or wide middle have.

    Attributes:
        inputs: Channels that come in.
        inner: Channels in the middle.
        outputs: Channels that go out.
        stride: In height and width.
        norm: Which norm.
    """

    inputs: int
    inner: int
    outputs: int
    stride: int
    norm: Norm


def norm_layer(norm: Norm, channels: int, eps: float) -> nn.Module:
    """A norm of maps; groups of channels are eight, or as many below as divide them."""
    return nn.BatchNorm3d(channels, eps=eps) if norm == "batch" else nn.GroupNorm(gcd(8, channels), channels, eps=eps)


def convolution(inputs: int, outputs: int, kernel: Kernel, *, stride: int = 1, groups: int = 1) -> nn.Conv3d:
    """A convolution that keeps the size of the map but for its stride, without a bias."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), padding, groups=groups, bias=False)


class ConvNorm(nn.Sequential):
    """A convolution, its norm and, where asked for, an activation.

    Args:
        conv: The convolution, or two in a row.
        channels: Of its output.
        norm: Which norm.
        eps: Of the norm.
        act: Whether a ReLU follows.
    """

    def __init__(self, conv: nn.Module, channels: int, *, norm: Norm, eps: float, act: bool) -> None:
        parts = [("conv", conv), ("bn", norm_layer(norm, channels, eps))]
        super().__init__(OrderedDict([*parts, *([("act", nn.ReLU())] if act else [])]))


class Factored(nn.Sequential):
    """A convolution in space, a norm, ReLU, and a convolution in time: the (2+1)D form of Tran et al., CVPR 2018.

    The width between them keeps the parameters of the 3 x k x k convolution that they replace.

    Args:
        inputs: C.
        outputs: C'.
        kernel: k; with 1, the one in time has a single tap too.
        stride: In height and width.
        norm: Which norm.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, norm: Norm) -> None:
        # As released, three taps are counted even where there is one.
        middle = 3 * kernel**2 * inputs * outputs // (kernel**2 * inputs + 3 * outputs)
        super().__init__(
            OrderedDict(
                conv_s=convolution(inputs, middle, (1, kernel, kernel), stride=stride),
                bn_s=norm_layer(norm, middle, 1e-5),  # as released: only outer norms have 1e-3
                act=nn.ReLU(),
                conv_t=convolution(middle, outputs, (3 if kernel > 1 else 1, 1, 1)),
            )
        )


class SqueezeExcitation(nn.Module):
    """Scales each channel by what the whole clip holds (Hu et al., CVPR 2018).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _rounded_width(channels / 16)
        self.fc1, self.fc2 = nn.Conv3d(channels, inner, 1), nn.Conv3d(inner, channels, 1)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) to the same."""
        pooled = clips.mean(dim=(2, 3, 4), keepdim=True)
        scales: Tensor = self.fc2(self.fc1(pooled).relu()).sigmoid()
        return clips * scales


class Block(nn.Module):
    """A branch of convolutions beside a shortcut.

    Attributes:
        convolutions: Names of the convolutions of the branch, in their order.
        downsample: The shortcut's convolution, where width or size change.
    """

    convolutions: tuple[str, ...]
    downsample: nn.Module | None

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C', T, H / stride, W / stride)."""
        shortcut = clips if self.downsample is None else self.downsample(clips)
        return (self.branch(clips) + shortcut).relu()

    @abstractmethod
    def branch(self, clips: Tensor) -> Tensor:
        """What is added to the shortcut; shapes as of :meth:`forward`."""


class Bottleneck(Block):
    """Narrow and wide again, or the other way round, around a convolution that sees more than one place.

    Args:
        shape: Its channels, stride and norm.
        first: The kernel of the first convolution.
        middle: The convolution in the middle.
        eps: Of norms.
        act: Whether a ReLU follows the middle.
    """

    convolutions: tuple[str, ...] = ("conv1.conv", "conv2.conv", "conv3.conv")

    def __init__(self, shape: BlockShape, *, first: Kernel, middle: nn.Conv3d, eps: float, act: bool = True) -> None:
        super().__init__()
        norm, inner, outputs = shape.norm, shape.inner, shape.outputs
        self.conv1 = ConvNorm(convolution(shape.inputs, inner, first), inner, norm=norm, eps=eps, act=True)
        self.conv2: nn.Module = ConvNorm(middle, inner, norm=norm, eps=eps, act=act)
        self.conv3 = ConvNorm(convolution(inner, outputs, (1, 1, 1)), outputs, norm=norm, eps=eps, act=False)
        self.downsample = None
        if shape.stride > 1 or shape.inputs != outputs:
            projection = convolution(shape.inputs, outputs, (1, 1, 1), stride=shape.stride)
            self.downsample = ConvNorm(projection, outputs, norm=norm, eps=eps, act=False)

    def branch(self, clips: Tensor) -> Tensor:
        """All three."""
        after: Tensor = self.conv3(self.conv2(self.conv1(clips)))
        return after


class DepthwiseBottleneck(Bottleneck):
    """Depth-wise through space and time: the block of CSN (Tran et al., ICCV 2019)."""

    convolutions = ("conv1.conv", "conv2.0.conv", "conv3.conv")

    def __init__(self, shape: BlockShape) -> None:
        super().__init__(shape, first=(1, 1, 1), middle=_depthwise(shape), eps=1e-3)
        self.conv2 = nn.Sequential(self.conv2)


class TemporalBottleneck(Bottleneck):
    """Through time first, where asked for, and then through space: the block of SlowOnly and SlowFast.

    Args:
        shape: Its channels, stride and norm.
        temporal: Whether it looks through time.
    """

    def __init__(self, shape: BlockShape, *, temporal: bool) -> None:
        middle = convolution(shape.inner, shape.inner, (1, 3, 3), stride=shape.stride)
        super().__init__(shape, first=(3 if temporal else 1, 1, 1), middle=middle, eps=1e-5)


class X3DBlock(Bottleneck):
    """Wide in the middle, depth-wise, squeezed in every other block: the block of X3D (Feichtenhofer, CVPR 2020).

    Args:
        shape: Its channels, stride and norm.
        squeeze: Whether it has squeeze-excitation.
    """

    def __init__(self, shape: BlockShape, *, squeeze: bool) -> None:
        super().__init__(shape, first=(1, 1, 1), middle=_depthwise(shape), eps=1e-5, act=False)
        self.se_module = SqueezeExcitation(shape.inner) if squeeze else nn.Identity()
        self.swish = nn.SiLU()

    def branch(self, clips: Tensor) -> Tensor:
        """The norm of the depth-wise convolution is followed by squeezing and Swish instead of ReLU."""
        after: Tensor = self.conv3(self.swish(self.se_module(self.conv2(self.conv1(clips)))))
        return after


class FactoredBlock(Block):
    """Two convolutions, each cut into space and time: the block of R(2+1)D-18 and -34."""

    convolutions = ("conv1.conv.conv_s", "conv1.conv.conv_t", "conv2.conv.conv_s", "conv2.conv.conv_t")

    def __init__(self, inputs: int, outputs: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        first, second = Factored(inputs, outputs, 3, stride=stride, norm=norm), Factored(outputs, outputs, 3, norm=norm)
        self.conv1 = ConvNorm(first, outputs, act=True, norm=norm, eps=1e-3)
        self.conv2 = ConvNorm(second, outputs, act=False, norm=norm, eps=1e-3)
        changes = stride > 1 or inputs != outputs
        shortcut = Factored(inputs, outputs, 1, stride=stride, norm=norm)
        self.downsample = ConvNorm(shortcut, outputs, act=False, norm=norm, eps=1e-3) if changes else None

    def branch(self, clips: Tensor) -> Tensor:
        """Both convolutions."""
        after: Tensor = self.conv2(self.conv1(clips))
        return after


def _depthwise(shape: BlockShape) -> nn.Conv3d:
    return convolution(shape.inner, shape.inner, (3, 3, 3), stride=shape.stride, groups=shape.inner)


def _rounded_width(width: float) -> int:
    """The nearest multiple of 8, at least 8, that does not lose more than a tenth; as in X3D."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
