"""The settings of the robust convolutional network, without torch."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.spec import BackboneConfig

Count = Annotated[int, Field(ge=1)]
Stride = Literal[1, 2]
Variant = Literal["dw", "inverted", "up_inverted", "down_inverted"]

# As in the released code, robust_resnet.py.
_KERNELS = {"dw": 11, "inverted": 7, "up_inverted": 11, "down_inverted": 11}


class RobustCNNConfig(BackboneConfig):
    """A convolutional network with three choices of vision transformers (Wang et al., ICLR 2023).

    The released networks have width 96, at 224 pixels, and depths 3, 4, 12, 3 (``dw``), 3, 4, 14, 3 (``inverted`` and
    ``up_inverted``) and 3, 4, 15, 3 (``down_inverted``). The defaults are smaller, so that a hospital without a large
    GPU can start; they are decided here.

    Attributes:
        variant: The order within a block. ``dw``: narrow in the middle (ResNet-DW). ``inverted``: wide in the middle,
            with the depth-wise convolution there. ``up_inverted``: the depth-wise convolution comes first; the most
            robust of the paper's table, and so the default. ``down_inverted``: it comes last.
        width: d, the base width of the first stage; each later stage has twice as many. 96 as published.
        depths: Blocks of each stage.
        strides: The stride of each stage, at its first block, or at the last block of the stage before with
            ``down_inverted``. Published: only the last stage halves the map. The first stage's is 1.
        stem: ``patch``, the paper's: one convolution without overlap. ``conv``, for ablations: 7 x 7 with stride 2,
            norm, ReLU and max-pooling.
        patch_px: Height, width and stride of the ``patch`` stem. 16 as published; the paper's text also tries 8.
        kernel_px: Height and width of depth-wise convolutions, odd; null for the published one, 7 for ``inverted`` and
            11 for the others.
        few: Whether a block has one activation and one norm, as the paper proposes; otherwise, for ablations, each
            convolution has a norm, and all but the last an activation.
        norm: ``batch`` as published, or ``group`` where sites' statistics differ.
        layer_scale: The first value of a scale for each channel of a residual branch; 0 for no scale, as in the
            published runs.
        drop_path: The rate at which the last block's branch is skipped in training; it grows linearly from 0 at the
            first block. 0.1 as published.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.robust_cnn.robust_cnn:RobustCNN"

    name: Literal["robust_cnn"] = "robust_cnn"
    variant: Variant = "up_inverted"
    width: int = Field(default=32, ge=1)
    depths: tuple[Count, ...] = Field(default=(2, 2, 6, 2), min_length=1)
    strides: tuple[Stride, ...] = (1, 1, 1, 2)
    stem: Literal["patch", "conv"] = "patch"
    patch_px: int = Field(default=16, ge=1)
    kernel_px: int | None = Field(default=None, ge=1)
    few: bool = True
    norm: Literal["batch", "group"] = "batch"
    layer_scale: float = Field(default=0.0, ge=0)
    drop_path: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if len(self.strides) != len(self.depths):
            raise ValueError(f"{len(self.depths)} depths need as many strides, found {len(self.strides)}")
        if self.strides[0] != 1:
            raise ValueError("the first stage follows the stem and has stride 1: choose another stem or patch_px")
        if self.kernel_px is not None and self.kernel_px % 2 == 0:
            raise ValueError(f"kernel_px is {self.kernel_px}, expected an odd number, which keeps the map's size")
        if self.stem == "conv" and self.patch_px != 16:
            raise ValueError("patch_px has no effect with stem 'conv': leave it out, or use stem 'patch'")
        return self

    @property
    def kernel(self) -> int:
        """Height and width of depth-wise convolutions."""
        return self.kernel_px if self.kernel_px is not None else _KERNELS[self.variant]
