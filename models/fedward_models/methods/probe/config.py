"""The settings of probing."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen
from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.frozen import FrozenWeights


class DecoderSettings(Frozen):
    """How maps of features become masks, and what is learned from; the defaults but for ``width`` are those of MGCA.

    Attributes:
        kind: ``progressive`` doubles the side of the last map step by step, ``unet`` joins maps of several sides, and
            ``linear`` tells the class of each place by itself; null for ``unet`` on ``resnet``, else ``progressive``.
        width: Channels of the first step; each later one has half. MGCA: 512 progressively, 256 in the U-Net.
        focal_weight: Of the focal loss, beside minus the logarithm of Dice.
        focal_gamma: How much the focal loss leaves out pixels that are right already.
        dice_smooth: Added above and below the fraction of Dice, in pixels.
    """

    kind: Literal["linear", "progressive", "unet"] | None = None
    width: int = Field(default=64, ge=1)
    focal_weight: float = Field(default=10.0, ge=0)
    focal_gamma: float = Field(default=2.0, ge=0)
    dice_smooth: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        if self.kind == "linear" and self.width != type(self).model_fields["width"].default:
            raise ValueError("width has no effect with kind 'linear', which has no steps: leave it out")
        return self


class ProbeConfig(MethodConfig):
    """A head on a frozen backbone: linear classification (e.g. Alain and Bengio, 2016), or a decoder for segmentation.

    Attributes:
        weights: What is frozen: the backbone of the ``previous`` stage, which every site then receives once; a file
            that every site holds, by its digest; or a network ``as_built`` from the run's seed, to compare with.
        features: What a linear head reads: the backbone's ``pooled`` features, or the ``class_token`` of a transformer,
            as MGCA does; CLIP's before its projection, as its authors do.
        normalisation: What the network's pixels are standardised by: as CLIP was, as for ImageNet, or as the ``site``
            standardises its images; null for ``clip`` with the backbone ``clip_vit``, else ``site``.
        decoder: Of segmentation only; null for that of MGCA, narrower.
        view: How a random view of each image is drawn; null to take images as they come.
        new_head: Whether the head starts anew after another probe, as several probes of one backbone in a row need;
            otherwise that one's is trained on.
    """

    implementation: ClassVar[str] = "fedward_models.methods.probe.probe:Probe"

    name: Literal["probe"] = "probe"
    weights: FrozenWeights | Literal["previous", "as_built"] = "previous"
    features: Literal["pooled", "class_token"] = "pooled"
    normalisation: Literal["site", "clip", "imagenet"] | None = None
    decoder: DecoderSettings | None = None
    view: ViewSettings | None = None
    new_head: bool = False

    @model_validator(mode="after")
    def _check_head(self) -> Self:
        if self.new_head and self.weights != "previous":
            raise ValueError("new_head has no effect on a probe that follows no other: leave it out")
        return self

    @property
    def needs_previous(self) -> bool:
        """Whether the stage before gives the network."""
        return self.weights == "previous"

    @property
    def freezes_previous(self) -> bool:
        """The network as that stage left it."""
        return self.needs_previous
