"""The settings of training with labels."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen
from fedward_core.spec import MethodConfig
from fedward_core.spec.choices import BackboneChoice
from fedward_models.data.batches.clip_settings import ClipSettings
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.frozen import FrozenWeights

Part = Annotated[float, Field(ge=0, le=1)]


class TeacherConfig(Frozen):
    """A finished classifier, whose predictions for the same images are learned beside the labels.

    Attributes:
        weights: Its file: ``final.safetensors`` or ``best.safetensors`` of a stage of ``supervised``, under a name.
        backbone: Its network, with the settings that it was trained with.
        form: ``soft`` compares with all of its probabilities (Hinton et al., 2015), ``hard`` with the class that it
            names (DeiT, Touvron et al., ICML 2021).
        weight: a of the loss (1 - a) labels + a teacher. 0.5 is DeiT's for ``hard``; for ``soft`` decided here.
        temperature: Divides the logits of both for ``soft``; the distance is multiplied by its square. Decided here.
    """

    weights: FrozenWeights
    backbone: BackboneChoice
    form: Literal["soft", "hard"] = "soft"
    weight: float = Field(default=0.5, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check_temperature(self) -> Self:
        if self.form == "hard" and self.temperature != 1:
            raise ValueError("temperature has no effect with form 'hard': leave it out, or choose 'soft'")
        return self


class SupervisedConfig(MethodConfig):
    """Classification, multi-label classification or segmentation: what the study's labels are for.

    What regularises is off by default. Fed-MAE fine-tuning in SSL-FL takes label_smoothing 0.1, mixup 0.8 and
    cutmix 1.0.

    Attributes:
        label_smoothing: The part of each target that is spread evenly over the classes (Szegedy et al., CVPR 2016).
        dice_weight: The weight of 1 - soft Dice beside the cross-entropy, for segmentation where most is background
            (Milletari et al., 3DV 2016): the mean over all classes but the first. Decided here: 0.
        mixup: The concentration of mixing weights (Zhang et al., ICLR 2018); 0 for none.
        cutmix: The concentration of box sizes (Yun et al., ICCV 2019); 0 for none. With both, each batch takes one by a
            coin.
        mixed_parts: The parts of all batches that Mixup and CutMix take; the others stay as they are; null to mix every
            batch. MINiT takes 0.149 and 0.36, each with a concentration of 0.98.
        cutmix_box: ``cuboid`` bounds the box along every axis; ``column``, MINiT's released code, leaves the last axis
            of a volume whole. For images both are the rectangle of the paper, and only ``cuboid`` may stand.
        view: How a random view of each image is drawn; null to take images as they come.
        clips: How shorter clips are drawn from each clip, and how many are averaged in testing; null to take them
            whole.
        teacher: Whose predictions are learned beside the labels; null to learn from these alone.
        head_init: ``small`` draws the weights of the head with a deviation of 2e-5, as fine-tuning in SSL-FL does;
            ``uniform`` up to 1/sqrt(features), as torch's layers do, for networks that train from scratch at high
            rates, such as LG-FedAvg's. Its bias starts at 0.
    """

    implementation: ClassVar[str] = "fedward_models.methods.supervised.supervised:Supervised"

    name: Literal["supervised"] = "supervised"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    mixed_parts: tuple[Part, Part] | None = None
    cutmix_box: Literal["cuboid", "column"] = "cuboid"
    view: ViewSettings | None = None
    clips: ClipSettings | None = None
    # Left out of a spec's text where there is none, so that older specs keep their digests.
    teacher: TeacherConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    dice_weight: float = Field(default=0.0, ge=0, exclude_if=lambda value: not value)
    head_init: Literal["small", "uniform"] = Field(default="small", exclude_if=lambda value: value == "small")

    @model_validator(mode="after")
    def _check_mixing(self) -> Self:
        if self.cutmix_box == "column" and not self.cutmix:
            raise ValueError("cutmix_box has no effect without cutmix: set both, or neither")
        if self.mixed_parts is None:
            return self
        if sum(self.mixed_parts) > 1:
            raise ValueError(f"mixed_parts sum to {sum(self.mixed_parts)}, expected at most 1")
        for part, name in zip(self.mixed_parts, ("mixup", "cutmix"), strict=True):
            if bool(part) != bool(getattr(self, name)):
                raise ValueError(f"mixed_parts and {name} contradict each other: both are above 0, or both 0")
        return self
