"""From clips to maps of features: a stem and stages of blocks, once, or twice for SlowFast.

Sources of the networks: CSN, Tran et al., ICCV 2019; X3D, Feichtenhofer, CVPR 2020; SlowFast and SlowOnly,
Feichtenhofer et al., ICCV 2019; R(2+1)D, Tran et al., CVPR 2018; all as the published code of STS has them (commit
c52c946). There, no stage has a stride in time.

Letters: B batch, C channel, T frame, H height, W width, E features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from fedward_core.errors import DataError
from fedward_models.backbones.sts_resnet.blocks import (
    Block,
    BlockShape,
    ConvNorm,
    DepthwiseBottleneck,
    Factored,
    FactoredBlock,
    TemporalBottleneck,
    X3DBlock,
    convolution,
)
from fedward_models.backbones.sts_resnet.config import STSResNetConfig

_X3D_EXPANSION = 2.25  # gamma_b
_FROM_STAGE = 2  # the first stage in which a slow path looks through time


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a block stands.

    Attributes:
        inputs: Channels that come in.
        stage: Counted from 0.
        index: Within the stage, counted from 0.
        stride: In height and width.
    """

    inputs: int
    stage: int
    index: int
    stride: int


class ResidualPath(nn.Module):
    """A stem and stages.

    Args:
        config: Network, depths, strides, norm.
        channels: Of the clips.
        width: Of the first stage.
        stem_frames: The temporal extent of the stem's kernel.
        block: Makes a block for a place.
        widths: After each stage.
        lateral: By how much the inputs of a stage are wider than what the stage before gives, for each stage.

    Attributes:
        widths: The width after each stage.
        num_features: Channels of the last map.
        stem: Names of the stem's modules, in their order.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        config: STSResNetConfig,
        *,
        channels: int,
        width: int,
        stem_frames: int,
        block: Callable[[Place], Block],
        widths: tuple[int, ...],
        lateral: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.widths, self.stem = widths, ("conv1_s", "conv1_t") if config.network == "x3d" else ("conv1",)
        for name, module in zip(self.stem, _stem(config, channels, width, stem_frames), strict=True):
            self.add_module(name, module)
        pools = config.stem == "published" and config.network != "x3d"
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if pools else nn.Identity()
        inputs = [now + more for now, more in zip((width, *widths), lateral or [0] * len(widths), strict=False)]
        for stage, (blocks, stride) in enumerate(zip(config.depths, config.stage_strides, strict=True)):
            places = [Place(inputs=inputs[stage], stage=stage, index=0, stride=stride)]
            places += [Place(inputs=widths[stage], stage=stage, index=i, stride=1) for i in range(1, blocks)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*map(block, places)))
        self.num_features = widths[-1]
        if config.network == "x3d":
            self.num_features = int(widths[-1] * _X3D_EXPANSION)
            conv = convolution(widths[-1], self.num_features, (1, 1, 1))
            self.conv5 = ConvNorm(conv, self.num_features, act=True, norm=config.norm, eps=1e-5)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, E, T, h, w)."""
        features = self.begin(clips)
        for stage in range(1, len(self.widths) + 1):
            features = self.get_submodule(f"layer{stage}")(features)
        return self.conv5(features) if hasattr(self, "conv5") else features

    def begin(self, clips: Tensor) -> Tensor:
        """The stem with its pooling: (B, C, T, H, W) to (B, C', T, h, w)."""
        for name in self.stem:
            clips = self.get_submodule(name)(clips)
        pooled: Tensor = self.pool(clips)
        return pooled


class SlowFastPaths(nn.Module):
    """A wide path on few frames and a narrow one on all, which feeds into the first after each stage but the last.

    Args:
        config: Widths, how often the slow path looks, and the rest.
        channels: Of the clips.
    """

    def __init__(self, config: STSResNetConfig, *, channels: int) -> None:
        super().__init__()
        self.every, self.stages = config.slow_every, len(config.depths)
        fast = config.fast_width or max(config.width // 8, 2)
        given = (fast, *_widths(config, fast)[:-1])
        self.slow_path = _slow(config, channels, lateral=tuple(2 * width for width in given))
        self.fast_path = ResidualPath(
            config,
            channels=channels,
            width=fast,
            stem_frames=5,
            block=partial(_temporal, config, _widths(config, fast), 0),
            widths=_widths(config, fast),
        )
        # As released: kernels of 5 frames where the slow path sees each eighth, of 7 where it sees each fourth.
        kernel = 5 if self.every == 8 else 7
        for place, width in enumerate(given):
            conv = nn.Conv3d(width, 2 * width, (kernel, 1, 1), (self.every, 1, 1), (kernel // 2, 0, 0), bias=False)
            self.slow_path.add_module(_lateral(place), nn.Sequential())
            self.slow_path.get_submodule(_lateral(place)).add_module("conv", conv)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the slow and of the fast path: (B, C, T, H, W) to (B, E', t, h, w) and (B, E'', T, h, w).

        Raises:
            DataError: The frames are no multiple of those that the slow path looks at.
        """
        if clips.shape[2] % self.every:
            raise DataError(
                f"clips of {clips.shape[2]} frames do not fit slow_every {self.every}: expected a multiple. Change "
                "dataset.frames, or slow_every"
            )
        slow, fast = self.slow_path.begin(clips[:, :, :: self.every]), self.fast_path.begin(clips)
        for stage in range(self.stages):
            joined = torch.cat([slow, self.slow_path.get_submodule(_lateral(stage))(fast)], dim=1)
            layer = f"layer{stage + 1}"
            slow, fast = self.slow_path.get_submodule(layer)(joined), self.fast_path.get_submodule(layer)(fast)
        return slow, fast


def build_path(config: STSResNetConfig, *, channels: int) -> ResidualPath | SlowFastPaths:
    """The network that a configuration names, with plain convolutions."""
    if config.network == "slowfast":
        return SlowFastPaths(config, channels=channels)
    if config.network == "slowonly":
        return _slow(config, channels)
    widths, make, frames = {
        "csn": (_widths(config, config.width), _depthwise, 3),
        "x3d": (_doubled(config), _x3d, 5),
        "r2plus1d": (_doubled(config), _factored, 3),
    }[config.network]
    block = partial(make, config, widths)
    return ResidualPath(config, channels=channels, width=config.width, stem_frames=frames, block=block, widths=widths)


def _slow(config: STSResNetConfig, channels: int, lateral: tuple[int, ...] = ()) -> ResidualPath:
    widths = _widths(config, config.width)
    block = partial(_temporal, config, widths, _FROM_STAGE)
    return ResidualPath(
        config, channels=channels, width=config.width, stem_frames=1, block=block, widths=widths, lateral=lateral
    )


def _depthwise(config: STSResNetConfig, widths: tuple[int, ...], place: Place) -> Block:
    return DepthwiseBottleneck(_shape(config, widths, place, inner=widths[place.stage] // config.expansion))


def _temporal(config: STSResNetConfig, widths: tuple[int, ...], since: int, place: Place) -> Block:
    shape = _shape(config, widths, place, inner=widths[place.stage] // config.expansion)
    return TemporalBottleneck(shape, temporal=place.stage >= since)


def _x3d(config: STSResNetConfig, widths: tuple[int, ...], place: Place) -> Block:
    shape = _shape(config, widths, place, inner=int(widths[place.stage] * _X3D_EXPANSION))
    return X3DBlock(shape, squeeze=place.index % 2 == 0)


def _factored(config: STSResNetConfig, widths: tuple[int, ...], place: Place) -> Block:
    return FactoredBlock(place.inputs, widths[place.stage], stride=place.stride, norm=config.norm)


def _shape(config: STSResNetConfig, widths: tuple[int, ...], place: Place, *, inner: int) -> BlockShape:
    outputs = widths[place.stage]
    return BlockShape(inputs=place.inputs, inner=inner, outputs=outputs, stride=place.stride, norm=config.norm)


def _widths(config: STSResNetConfig, width: int) -> tuple[int, ...]:
    """After each stage of bottlenecks."""
    return tuple(width * 2**stage * config.expansion for stage in range(len(config.depths)))


def _doubled(config: STSResNetConfig) -> tuple[int, ...]:
    return tuple(config.width * 2**stage for stage in range(len(config.depths)))


def _stem(config: STSResNetConfig, channels: int, width: int, frames: int) -> tuple[nn.Module, ...]:
    stride, kernel = (2, 7) if config.stem == "published" else (1, 3)
    eps = 1e-3 if config.network in {"csn", "r2plus1d"} else 1e-5
    if config.network == "x3d":
        space = nn.Sequential()
        space.add_module("conv", convolution(channels, width, (1, 3, 3), stride=stride))
        time = convolution(width, width, (frames, 1, 1), groups=width)
        return space, ConvNorm(time, width, act=True, norm=config.norm, eps=eps)
    if config.network == "r2plus1d":
        factored = Factored(channels, width, kernel, stride=stride, norm=config.norm)
        return (ConvNorm(factored, width, act=True, norm=config.norm, eps=eps),)
    # The small stem leaves time to the blocks.
    extent = (frames if config.stem == "published" else 1, kernel, kernel)
    conv = convolution(channels, width, extent, stride=stride)
    return (ConvNorm(conv, width, act=True, norm=config.norm, eps=eps),)


def _lateral(place: int) -> str:
    return "conv1_lateral" if place == 0 else f"layer{place}_lateral"
