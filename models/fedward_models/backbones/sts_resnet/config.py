"""The settings of the separable residual networks of clips, without torch."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.cards import DataNeed
from fedward_core.spec import BackboneConfig
from fedward_models.frozen import FrozenWeights

Count = Annotated[int, Field(ge=1)]
Network = Literal["csn", "x3d", "slowonly", "slowfast", "r2plus1d"]


class STSResNetConfig(BackboneConfig):
    """A residual network of clips whose convolutions are spatial-temporal separable (Li et al., ECCV 2022).

    The published networks have a width of 64 and depths 3, 4, 6, 3; ``x3d`` has 24 and 3, 5, 11, 7. The defaults are
    smaller, so that a hospital without a large GPU can start; they are decided here.

    Attributes:
        network: ``csn``: depth-wise bottlenecks. ``x3d``: the same, narrow and with squeeze-excitation. ``slowonly``:
            bottlenecks that look through time in late stages only. ``slowfast``: such a path on few frames, beside a
            narrow one on all. ``r2plus1d``: every convolution cut into one in space and one in time.
        width: Channels of the first stage; each later stage has twice as many.
        depths: Blocks of each stage.
        strides: In height and width, of each stage's first block; by default 2 for all stages but the first, and for
            the first too with ``x3d``, as published.
        stem: ``published``: large kernels, a stride of 2 and, but for ``x3d``, pooling. ``small``, for small frames:
            one convolution of 3 x 3 in space without stride or pooling. Decided here.
        expansion: Channels between blocks by those within, for bottlenecks. 4 as published.
        sts: Whether convolutions are separated. Off for pre-training on single frames, as published, and to compare.
        static_fraction: The part of channels that sees single frames; 1/2 as published.
        rowcol: How these run along rows and columns: ``clean``, or ``flat`` as released, for released weights.
        temporal_padding: What lies before the first and after the last frame for the others: ``zeros`` as published;
            ``circular`` where a clip is one cycle, e.g. of a heart. An addition. Convolutions that are not separated
            see zeros all the same: the stem of ``x3d``, the published ones of ``csn`` and ``slowfast``, and what joins
            the paths of the latter.
        frames: ``together`` reads a clip as one. ``apart`` reads each frame as a clip of its own and averages their
            features: the pre-training on images, for archives of clips. It needs ``sts: false``.
        slow_every: Of ``slowfast``: the slow path sees every n-th frame; n is this number. 8 as published for 4x16, 4
            for 8x8.
        fast_width: Of ``slowfast``: channels of the fast path's first stage; an eighth of the width as published.
        head_width: Of ``x3d``: the width of the hidden layer that features pass last; 2048 as published. 0 for none.
        image_weights: Of ``slowonly``: a frozen ResNet with bottlenecks of torchvision or timm to start from, e.g.
            ResNet-50 with width 64 and depths 3, 4, 6, 3. Every site and whoever plans the run holds the file.
        inflation: How its kernels become kernels of clips: ``center``, one frame; ``mean``, all frames alike;
            ``released``, as the published run on Something-Something.
        norm: ``batch`` as published, or ``group`` where sites' statistics differ. An addition.
        dropout: The rate at which features are dropped in training; 0.5 as published.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.sts_resnet.sts_resnet:STSResNet"
    need: ClassVar[DataNeed] = DataNeed.CLIP
    continues: ClassVar[bool] = True

    name: Literal["sts_resnet"] = "sts_resnet"
    network: Network = "csn"
    width: int = Field(default=16, ge=2)
    depths: tuple[Count, ...] = Field(default=(2, 2, 2, 2), min_length=1)
    strides: tuple[Literal[1, 2], ...] | None = None
    stem: Literal["published", "small"] = "published"
    expansion: int = Field(default=4, ge=1)
    sts: bool = True
    static_fraction: float = Field(default=0.5, ge=0, le=1)
    rowcol: Literal["clean", "flat"] = "clean"
    temporal_padding: Literal["zeros", "circular"] = "zeros"
    frames: Literal["together", "apart"] = "together"
    slow_every: int = Field(default=8, ge=2)
    fast_width: int | None = Field(default=None, ge=2)
    head_width: int | None = Field(default=None, ge=0)
    image_weights: FrozenWeights | None = None
    inflation: Literal["center", "mean", "released"] = "center"
    norm: Literal["batch", "group"] = "batch"
    dropout: float = Field(default=0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if self.strides is not None and len(self.strides) != len(self.depths):
            raise ValueError(f"{len(self.depths)} depths need as many strides, found {len(self.strides)}")
        if self.width % 2:
            raise ValueError(f"width is {self.width}, expected an even number, which static and dynamic channels share")
        return self

    @model_validator(mode="after")
    def _check_effects(self) -> Self:
        if self.frames == "apart" and self.sts:
            raise ValueError(
                "frames: apart trains middle slices of kernels only, but separated convolutions use the others within "
                "frames: set sts: false, and separate in the stage that follows"
            )
        defaults = {"static_fraction": 0.5, "rowcol": "clean", "temporal_padding": "zeros"}
        self._refuse_unless(self.sts, "sts: true", defaults)
        self._refuse_unless(self.network == "slowfast", "network: slowfast", {"slow_every": 8, "fast_width": None})
        self._refuse_unless(self.network == "slowonly", "network: slowonly", {"image_weights": None})
        self._refuse_unless(self.image_weights is not None, "image_weights", {"inflation": "center"})
        self._refuse_unless(self.network == "x3d", "network: x3d", {"head_width": None})
        self._refuse_unless(self.network not in {"x3d", "r2plus1d"}, "networks with bottlenecks", {"expansion": 4})
        if self.network == "slowfast" and self.frames == "apart":
            raise ValueError("frames: apart leaves the slow path of slowfast no frame: pre-train with slowonly")
        return self

    @property
    def stage_strides(self) -> tuple[int, ...]:
        """In height and width, of each stage's first block."""
        first = 2 if self.network == "x3d" else 1
        return self.strides or (first, *[2] * (len(self.depths) - 1))

    def _refuse_unless(self, condition: bool, needed: str, defaults: dict[str, object]) -> None:
        for name, default in defaults.items():
            if not condition and getattr(self, name) != default:
                raise ValueError(f"{name} has an effect with {needed} only: leave it out")
