"""The network of LG-FedAvg on CIFAR-10, by one name: a small CNN with published widths. No torch."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.spec import BackboneConfig
from fedward_models.backbones.small_cnn.config import Width


class LeNetConfig(BackboneConfig):
    """The CNN of LG-FedAvg: two 5 x 5 convolutions without padding or norm, each with 2 x 2 max-pooling, then linear.

    With ten classes at 32 pixels in colour it has 64,102 parameters, with a hundred 73,192.

    Source: P. P. Liang et al., "Think Locally, Act Globally: Federated Learning with Local and Global Representations",
    2020, arXiv:2001.01523, released code. CD2-pFed (Shen et al., CVPR 2022) takes three rows of its first table from
    there.

    Attributes:
        widths: Channels of each convolution.
        hidden: Widths of the hidden layers.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.lenet.lenet:lenet"

    name: Literal["lenet"] = "lenet"
    widths: tuple[Width, Width] = (6, 16)
    hidden: tuple[Width, ...] = Field(default=(120, 100), min_length=1)
