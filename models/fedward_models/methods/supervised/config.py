"""The settings of training with labels."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.spec import MethodConfig
from fedward_models.data.view_settings import ViewSettings


class SupervisedConfig(MethodConfig):
    """Classification, multi-label classification or segmentation: what the study's labels are for.

    The three settings are off by default. Fed-MAE fine-tuning in SSL-FL takes label_smoothing 0.1, mixup 0.8 and
    cutmix 1.0.

    Attributes:
        label_smoothing: The part of each target that is spread evenly over the classes (Szegedy et al., CVPR 2016).
        mixup: The concentration of mixing weights (Zhang et al., ICLR 2018); 0 for none.
        cutmix: The concentration of box sizes (Yun et al., ICCV 2019); 0 for none. With both, each batch takes one by a
            coin.
        view: How a random view of each image is drawn; None to take images as they come.
    """

    implementation: ClassVar[str] = "fedward_models.methods.supervised.supervised:Supervised"

    name: Literal["supervised"] = "supervised"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    view: ViewSettings | None = None
