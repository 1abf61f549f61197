"""The settings of the residual network, without torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fedward_core.spec import BackboneConfig

Blocks = Annotated[int, Field(ge=1)]


class ResNetConfig(BackboneConfig):
    """The residual network of bottlenecks (He et al., CVPR 2016), the other image tower of MGCA.

    ResNet-50 is ``width: 64, depths: [3, 4, 6, 3]``. The defaults are smaller, as those of the other backbones are;
    they are decided here.

    Attributes:
        width: Channels within the bottlenecks of the first stage; later stages have twice as many each, and the streams
            between blocks four times as many.
        depths: Blocks of each of the four stages.
        input_px: Images are enlarged to this side before the first convolution. 299 for images of 224 pixels in MGCA;
            null to take them as they are.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.resnet.resnet:ResNet"

    name: Literal["resnet"] = "resnet"
    width: int = Field(default=16, ge=1)
    depths: tuple[Blocks, Blocks, Blocks, Blocks] = (2, 2, 2, 2)
    input_px: int | None = Field(default=None, ge=1)
