"""Residual networks of clips whose convolutions are spatial-temporal separable: CSN, X3D, SlowOnly, SlowFast, R(2+1)D.

Paper: X. Li, H. Wang, C. Wei, J. Mei, A. Yuille, Y. Zhou, C. Xie, "In Defense of Image Pre-Training for Spatiotemporal
Recognition", ECCV 2022, https://arxiv.org/abs/2205.01721.

Faithful to UCSC-VLAA/Image-Pretraining-for-Video (commit c52c946), whose networks these are: which convolutions are
separated, strides, norms and their constants, the order of SlowFast's features, initialisation, dropout before the
classifier. Released weights load: what is called ``backbone`` there is ``path`` here, and ``cls_head.fc1`` is ``fc1``.
Differs: the release wraps along rows and columns (see ``layers.sts_conv``); here that is a setting. Circular time,
group norms, small stems and pre-training on the frames of clips are additions.

Letters: B batch, C channel, T frame, H height, W width, E features.
"""

import torch
from torch import Tensor, nn

from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.backbones.sts_resnet.config import STSResNetConfig
from fedward_models.backbones.sts_resnet.groups import channel_groups_of
from fedward_models.backbones.sts_resnet.image_names import from_image_resnet
from fedward_models.backbones.sts_resnet.paths import ResidualPath, build_path
from fedward_models.frozen import FrozenWeights, read_frozen
from fedward_models.layers.image_weights import load_image_weights
from fedward_models.layers.sts_conv import is_separable
from fedward_models.layers.sts_conversion import convert_sts

_SMALLEST_PX = 8
_X3D_HEAD = 2048


class STSResNet(Backbone):
    """A network of clips, or of the single frames of clips.

    Args:
        config: Which network, its sizes, and how it is separated.
        image_px: Height and width of the frames.
        channels: Channels of the frames.

    Attributes:
        separated: Names of the separated convolutions.

    Raises:
        SpecError: The frames are too small, flattened rows do not fit them, or widths cannot be halved.
        CheckpointError: Image weights are missing, or of another network.
    """

    def __init__(self, config: STSResNetConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        _refuse_sizes(config, image_px)
        self.config = config
        self.path = build_path(config, channels=channels)
        self.apply(_initialise)
        if config.image_weights is not None:
            self._start_from(config.image_weights)
        self.separated = tuple(_separate(self.path, config) if config.sts else ())
        widths = _feature_width(self.path)
        head = _X3D_HEAD if config.head_width is None else config.head_width
        self.fc1 = nn.Linear(widths, head, bias=False) if config.network == "x3d" and head else None
        self.dropout = nn.Dropout(config.dropout)
        self.num_features = widths if self.fc1 is None else head

    def forward(self, images: Tensor) -> Tensor:
        """Features of whole clips.

        Args:
            images: (B, C, T, H, W), float, standardised.

        Returns:
            (B, E).

        Raises:
            DataError: The input has no time, or does not fit the network.
        """
        _refuse_without_time(images)
        if self.config.frames == "apart":
            return _together(self._features(_apart(images)), images.shape[0]).mean(dim=1)
        return self._features(images)

    def feature_map(self, images: Tensor) -> Tensor:
        """Features of places and times: (B, C, T, H, W) to (B, E, T, h, w), before a hidden layer.

        SlowFast gives the fast path's map, beside the slow path's with each frame repeated.
        """
        _refuse_without_time(images)
        if self.config.frames == "apart":
            return _together(self.path(_apart(images)).squeeze(2), images.shape[0]).transpose(1, 2)
        maps = self.path(images)
        if isinstance(maps, Tensor):
            return maps
        slow, fast = maps
        return torch.cat([fast, slow.repeat_interleave(self.config.slow_every, dim=2)], dim=1)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The residual stream of every stage, and the channels within every block, static ones first.

        So a private half is the dynamic half: what moves is the site's own, what is seen is everyone's. SlowFast, whose
        paths feed into each other, has the channels within blocks only.
        """
        return channel_groups_of(self.path, hidden=0 if self.fc1 is None else self.fc1.out_features)

    def layer_of(self, name: str) -> int:
        """Stems 0, blocks from 1, with a fast path's at the slow one's; what follows goes with the head."""
        parts = name.split(".")
        if parts[0] == "fc1" or "conv5" in parts:
            return self.num_layers()
        stage = next((part for part in parts if part.startswith("layer")), None)
        if stage is None:
            return 0
        number, _, lateral = stage.removeprefix("layer").partition("_")
        before = sum(self.config.depths[: int(number) - 1])
        return before + (self.config.depths[int(number) - 1] if lateral else int(parts[parts.index(stage) + 1]) + 1)

    def num_layers(self) -> int:
        """The stem and all blocks."""
        return sum(self.config.depths) + 1

    def _start_from(self, weights: FrozenWeights) -> None:
        state = {name: torch.from_numpy(array) for name, array in read_frozen(weights).items()}
        missing = load_image_weights(self, from_image_resnet(state), mode=self.config.inflation)
        if missing := [name for name in missing if not name.endswith("num_batches_tracked")]:
            raise CheckpointError(
                f"{weights.note('image weights')}: expected a ResNet with bottlenecks of torchvision or timm, found "
                f"nothing for {len(missing)} entries, such as '{missing[0]}': match depths"
            )

    def _features(self, clips: Tensor) -> Tensor:
        maps = self.path(clips)
        # As released: the head reads the fast path's features first.
        pooled = torch.cat(
            [m.mean(dim=(2, 3, 4)) for m in ((maps,) if isinstance(maps, Tensor) else maps[::-1])], dim=1
        )
        dropped: Tensor = self.dropout(pooled if self.fc1 is None else self.fc1(pooled).relu())
        return dropped


def _separate(path: nn.Module, config: STSResNetConfig) -> list[str]:
    return convert_sts(
        path,
        chosen=lambda conv: is_separable(conv) and conv.kernel_size[1] <= 3,  # not a dense stem of 3 x 7 x 7
        static_fraction=config.static_fraction,
        rowcol=config.rowcol,
        temporal_padding=config.temporal_padding,
    )


def _feature_width(path: nn.Module) -> int:
    """Channels of the last maps."""
    if not isinstance(path, ResidualPath):
        return sum(_feature_width(part) for part in (path.get_submodule("slow_path"), path.get_submodule("fast_path")))
    return path.num_features


def _apart(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B*T, C, 1, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1).unsqueeze(2)


def _together(frames: Tensor, clips: int) -> Tensor:
    """(B*T, ...) to (B, T, ...)."""
    return frames.reshape(clips, -1, *frames.shape[1:])


def _refuse_without_time(images: Tensor) -> None:
    if images.ndim != 5:
        raise DataError(
            f"sts_resnet reads clips, expected (batch, channels, frames, height, width), found {images.ndim} axes: use "
            "a dataset of kind clip, or a backbone of images"
        )


def _refuse_sizes(config: STSResNetConfig, image_px: int) -> None:
    if image_px < _SMALLEST_PX:
        raise SpecError(
            f"frames of {image_px} pixels are too small for sts_resnet, which needs {_SMALLEST_PX}: enlarge "
            "dataset.image_px"
        )
    if config.sts and config.rowcol == "flat":
        _refuse_ragged(config, image_px)


def _refuse_ragged(config: STSResNetConfig, image_px: int) -> None:
    """Flattened rows must be divided by the strides, where depth-wise convolutions have one."""
    px = image_px
    if config.stem == "published":
        px = (px + 1) // 2 if config.network == "x3d" else ((px + 1) // 2 + 1) // 2
    for stride in config.stage_strides:
        if config.network in {"csn", "x3d"} and px % stride:
            raise SpecError(
                f"rowcol: flat needs even maps, but frames of {image_px} pixels lead to one of {px}: take another "
                "dataset.image_px, or rowcol: clean"
            )
        px = (px + stride - 1) // stride


def _initialise(module: nn.Module) -> None:
    """As in: the published pre-training; norms start at 1."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
