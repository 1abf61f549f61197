"""The settings of SDMP, over MoCo v3 or over DINO."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fedward_core.cards import DataNeed
from fedward_core.config import Frozen
from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings

# Views without what distorts radiographs: hue, saturation and solarisation. The first two are MoCo v3's.
FIRST_VIEW = ViewSettings(saturation=0.0, hue=0.0, blur=1.0)
SECOND_VIEW = ViewSettings(saturation=0.0, hue=0.0, blur=0.1)
LOCAL_VIEW = ViewSettings(crop_scale=(0.05, 0.4), saturation=0.0, hue=0.0, blur=0.5)


class MoCoConfig(Frozen):
    """Contrast within the batch (MoCo v3, Chen et al., ICCV 2021).

    MoCo v3 takes hidden layers of 4096 and features of 256 beside a ViT-S or ViT-B; the smaller defaults are decided
    here, as those of the backbone are.

    Attributes:
        name: ``moco``.
        hidden: Units of the hidden layers of projector and predictor.
        width: Features that are compared.
        temperature: Divides similarities; 0.2 in MoCo v3 and in SDMP.
        momentum: What the momentum branch keeps of itself in the first step; it rises to 1 as half a cosine. 0.99 in
            SDMP's released code.
        form: ``a`` sums the two log-losses by their weights, as in the published pseudo-code; ``b`` is the logarithm of
            the summed probabilities, as in the code since 2023.
    """

    name: Literal["moco"] = "moco"
    hidden: int = Field(default=512, ge=1)
    width: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.2, gt=0)
    momentum: float = Field(default=0.99, ge=0, le=1)
    form: Literal["a", "b"] = "a"


class DINOConfig(Frozen):
    """A student that predicts a teacher's distribution over prototypes (DINO, Caron et al., ICCV 2021).

    DINO takes hidden layers of 2048, a bottleneck of 256 and 65,536 prototypes; the smaller defaults are decided here.

    Attributes:
        name: ``dino``.
        hidden: Units of the hidden layers of the projector.
        bottleneck: Features that are compared with prototypes.
        prototypes: How many.
        student_temperature: Divides the student's similarities; 0.1 in DINO.
        teacher_temperature: Divides the teacher's; 0.04 in DINO.
        centre_momentum: What the centre keeps of itself in a step; 0.9 in DINO.
        momentum: As for MoCo; 0.996 in DINO.
        frozen_rounds: Rounds during which prototypes stand still; DINO's last layer does for one epoch. Decided here:
            none, since they have no length here that could run away.
        local_crops: Small crops of each image, which also predict what the momentum branch makes of both views; they
            are not mixed. 8 in DINO. Decided here: none, since a crop of a twentieth seldom shows the lesion.
        local_px: Their height and width, 96 of 224 in DINO; null for those of the images.
        local_view: How they are drawn: 0.05 to 0.4 of the area as in DINO, without saturation and hue.
    """

    name: Literal["dino"] = "dino"
    hidden: int = Field(default=512, ge=1)
    bottleneck: int = Field(default=128, ge=1)
    prototypes: int = Field(default=1024, ge=2)
    student_temperature: float = Field(default=0.1, gt=0)
    teacher_temperature: float = Field(default=0.04, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, le=1)
    momentum: float = Field(default=0.996, ge=0, le=1)
    frozen_rounds: float = Field(default=0.0, ge=0)
    local_crops: int = Field(default=0, ge=0)
    local_px: int | None = Field(default=None, ge=1)
    local_view: ViewSettings = LOCAL_VIEW

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if not self.local_crops and (self.local_px is not None or self.local_view != LOCAL_VIEW):
            raise ValueError("local_px and local_view have no effect without local_crops: set local_crops, e.g. to 8")
        return self


class MixingConfig(Frozen):
    """How often a step mixes in each way; the three sum to 1.

    Attributes:
        mixup: Both images shine through each other.
        cutmix: A box of the partner, in its place. Fit where the size of what is seen is diagnostic.
        resizemix: The whole partner, shrunk into a box; the only one that the released code uses.
    """

    mixup: float = Field(default=0.0, ge=0, le=1)
    cutmix: float = Field(default=0.0, ge=0, le=1)
    resizemix: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if abs(self.mixup + self.cutmix + self.resizemix - 1) > 1e-9:
            raise ValueError(
                f"mixup, cutmix and resizemix sum to {self.mixup + self.cutmix + self.resizemix:g}: expected 1. To "
                "leave resizemix out, set it to 0"
            )
        return self


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


BaseChoice = Annotated[
    Annotated[MoCoConfig | DINOConfig, Field(discriminator="name")],
    BeforeValidator(_named),
]


class SDMPConfig(MethodConfig):
    """Self-supervised learning with mixed images as extra positives (SDMP, Ren et al., CVPR 2022).

    Attributes:
        base: What it is built on, ``moco`` or ``dino``, with the settings of that.
        mixing: How often a step mixes in each way.
        views: ``swap`` draws two views, which a coin exchanges, as in the released code; ``extra`` draws four, two for
            the clean loss in both directions and two for mixing, as in the published pseudo-code.
        source_weight: The weight of mixed images against their sources; null for 1/2 with ``swap`` and 1 with
            ``extra``, as published.
        mixed_weight: The weight of mixed images against each other; null as above.
        freeze_patches: Whether a vision transformer's patch embedding stays random, as in MoCo v3. Needed for ``vit``
            only.
        momentum_branch: ``keep`` leaves the momentum branch at the site from round to round; ``rebuild`` copies it from
            the received weights at the start of each round.
        first_view: How the first view is drawn. Crops keep at least 0.2 of the area, so that a lesion is not cut away
            (published 0.08), and colours are not turned.
        second_view: How the second view is drawn.
    """

    implementation: ClassVar[str] = "fedward_models.methods.sdmp.sdmp:SDMP"
    need: ClassVar[DataNeed | None] = DataNeed.TWO_VIEWS
    needs_labels: ClassVar[bool] = False

    name: Literal["sdmp"] = "sdmp"
    base: BaseChoice = MoCoConfig()
    mixing: MixingConfig = MixingConfig()
    views: Literal["swap", "extra"] = "swap"
    source_weight: float | None = Field(default=None, ge=0)
    mixed_weight: float | None = Field(default=None, ge=0)
    freeze_patches: bool = True
    momentum_branch: Literal["keep", "rebuild"] = "keep"
    first_view: ViewSettings = FIRST_VIEW
    second_view: ViewSettings = SECOND_VIEW
