"""The settings of the pre-activation residual network, without torch."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.spec import BackboneConfig


class PreActResNetConfig(BackboneConfig):
    """A pre-activation ResNet for small images (He et al., ECCV 2016), as fast adversarial training uses it.

    Attributes:
        depth: 18 or 34 layers.
        width: Channels of the first stage; each later stage has twice as many. 64 as published.
        activation: ``relu`` as published; the smooth ones are a trick of adversarial training (Li et al.,
            arXiv:2209.02684). ``softplus`` has the sharpness 10 of Xie et al., arXiv:2006.14536.
        stem_stride: The stride of the first convolution; 1 as published, 2 or 4 is a trick of adversarial training.
        final_norm: Whether a norm and an activation follow the last stage: so in locuslab/fast_adversarial, and not in
            tml-epfl/understanding-fast-adv-training.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.preact_resnet.preact_resnet:PreActResNet"

    name: Literal["preact_resnet"] = "preact_resnet"
    depth: Literal[18, 34] = 18
    width: int = Field(default=64, ge=1)
    activation: Literal["relu", "silu", "gelu", "softplus", "elu", "mish"] = "relu"
    stem_stride: Literal[1, 2, 4] = 1
    final_norm: bool = True
