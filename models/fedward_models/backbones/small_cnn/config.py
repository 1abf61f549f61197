"""The settings of the small CNN, without torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fedward_core.spec import BackboneConfig

Width = Annotated[int, Field(ge=1)]


class SmallCNNConfig(BackboneConfig):
    """Stages of convolution, normalisation, ReLU and 2 x 2 max-pooling, then hidden linear layers with ReLU.

    The network of LG-FedAvg (Liang et al., 2020) on CIFAR-10 is ``widths: [6, 16], kernel_px: 5, padding: valid,
    hidden: [120, 100], norm: none`` at 32 pixels.

    Attributes:
        widths: Channels of each stage. Decided here: 32 and 64, enough for a private share of a tenth to cut every
            stage.
        kernel_px: Height and width of each convolution. Decided here: 3.
        padding: ``same`` keeps the size of the map, ``valid`` pads nothing. Decided here: ``same``.
        hidden: Widths of the hidden linear layers; empty to take the flattened map as features. Decided here: one of
            128.
        norm: ``batch`` normalises each convolution over the batch, ``none`` gives it a bias instead. Decided here:
            ``batch``, the common choice for images.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.small_cnn.small_cnn:SmallCNN"

    name: Literal["small_cnn"] = "small_cnn"
    widths: tuple[Width, ...] = Field(default=(32, 64), min_length=1)
    kernel_px: Literal[3, 5] = 3
    padding: Literal["same", "valid"] = "same"
    hidden: tuple[Width, ...] = (128,)
    norm: Literal["batch", "none"] = "batch"
