"""The four blocks: depth-wise (dw) and 1x1 (pw) convolutions in four orders, in a residual branch.

    dw             pw c->d,  norm,       dw d,  pw d->4d,         then ReLU over the sum
    inverted       pw c->4d, norm, ReLU, dw 4d, pw 4d->d
    up_inverted    dw c->d,  norm,       pw d->4d, ReLU, pw 4d->d
    down_inverted  pw c->4d, norm, ReLU, pw 4d->d, dw d

Entries have the names of the released code.

Letters: B batch, C channel, H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from fedward_models.backbones.robust_cnn.config import Variant

EXPANSION = 4


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """What a block is made of.

    Attributes:
        variant: The order of its convolutions.
        inputs: c, the channels that come in.
        width: d, the base width.
        stride: Of its depth-wise convolution.
        kernel: Height and width of that.
        few: Whether there is one norm and one activation.
        norm: ``batch`` or ``group``.
        layer_scale: The scale's first value; 0 for none.
        drop_path: The rate at which the branch is skipped.
    """

    variant: Variant
    inputs: int
    width: int
    stride: int = 1
    kernel: int
    few: bool = True
    norm: str = "batch"
    layer_scale: float = 0.0
    drop_path: float = 0.0

    @property
    def hidden(self) -> int:
        """The expanded width."""
        return EXPANSION * self.width

    @property
    def outputs(self) -> int:
        """The channels that go out."""
        return self.hidden if self.variant == "dw" else self.width


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution of a block; with a kernel of its own it is depth-wise."""

    name: str
    inputs: int
    outputs: int
    depthwise: bool = False


class Block(nn.Module):
    """A residual branch beside a shortcut.

    Attributes:
        shape: What it is made of.
        convolutions: Its convolutions, in order.
        downsample: The convolution and norm of the shortcut; none where it is the identity.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.shape = shape
        self.convolutions = convolutions_of(shape)
        self._branch = tuple(self._add_branch())
        projects = shape.stride > 1 or shape.inputs != shape.outputs
        self.downsample = _projection(shape) if projects else None
        self.gamma = nn.Parameter(torch.full((shape.outputs,), shape.layer_scale)) if shape.layer_scale else None
        self.drop_path = DropPath(shape.drop_path)
        self.act = nn.ReLU() if shape.variant == "dw" else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        branch = features
        for name in self._branch:
            branch = self.get_submodule(name)(branch)
        if self.gamma is not None:
            branch = branch * self.gamma[:, None, None]
        shortcut = features if self.downsample is None else self.downsample(features)
        total: Tensor = self.act(self.drop_path(branch) + shortcut)
        return total

    def _add_branch(self) -> Iterator[str]:
        """Build the branch, part by part, and name the parts in order."""
        # The released down_inverted counts its norm and activation from 2.
        first = 2 if self.shape.variant == "down_inverted" else 1
        for index, conv in enumerate(self.convolutions):
            yield self._add(conv.name, _convolution(conv, self.shape))
            if self._has_norm(index):
                yield self._add(f"norm{first + index}", norm_layer(self.shape.norm, conv.outputs))
            if self._has_activation(index):
                yield self._add(f"act{first + index}", nn.ReLU())

    def _add(self, name: str, module: nn.Module) -> str:
        self.add_module(name, module)
        return name

    def _has_norm(self, index: int) -> bool:
        return index == 0 if self.shape.few else True

    def _has_activation(self, index: int) -> bool:
        if not self.shape.few:
            return index < len(self.convolutions) - 1
        activated = {"dw": None, "inverted": 0, "up_inverted": 1, "down_inverted": 0}
        return index == activated[self.shape.variant]


def convolutions_of(shape: BlockShape) -> tuple[Convolution, ...]:
    """The convolutions of a block's branch, in order."""
    c, d, h = shape.inputs, shape.width, shape.hidden

    def dw(inputs: int, outputs: int) -> Convolution:
        return Convolution(name="conv_dw", inputs=inputs, outputs=outputs, depthwise=True)

    def pw(number: int, inputs: int, outputs: int) -> Convolution:
        return Convolution(name=f"pwconv{number}", inputs=inputs, outputs=outputs)

    return {
        "dw": (pw(1, c, d), dw(d, d), pw(2, d, h)),
        "inverted": (pw(1, c, h), dw(h, h), pw(2, h, d)),
        "up_inverted": (dw(c, d), pw(1, d, h), pw(2, h, d)),
        "down_inverted": (pw(1, c, h), pw(2, h, d), dw(d, d)),
    }[shape.variant]


def norm_layer(norm: str, channels: int) -> nn.Module:
    """Batch norm, or group norm with the largest number of groups up to 32 that divides the channels."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(next(groups for groups in range(min(32, channels), 0, -1) if channels % groups == 0), channels)


def _convolution(conv: Convolution, shape: BlockShape) -> nn.Conv2d:
    if not conv.depthwise:
        return nn.Conv2d(conv.inputs, conv.outputs, 1)
    return nn.Conv2d(
        conv.inputs,
        conv.outputs,
        shape.kernel,
        stride=shape.stride,
        padding=shape.kernel // 2,
        groups=conv.inputs,
    )


def _projection(shape: BlockShape) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(shape.inputs, shape.outputs, 1, stride=shape.stride), norm_layer(shape.norm, shape.outputs)
    )
