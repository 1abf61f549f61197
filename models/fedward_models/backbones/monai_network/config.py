"""The settings of networks of MONAI, without torch."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.cards import DataNeed
from fedward_models.backbones.library_config import LibraryConfig


class MONAIConfig(LibraryConfig):
    """Any network of MONAI over images, by its name there.

    Attributes:
        network: The name in ``monai.networks.nets``, e.g. ``DenseNet121``, ``resnet18`` or ``UNet``. It is looked up
            where the network is built. Decided here: ``DenseNet121``.
        arguments: Handed on to the network, e.g. ``{channels: [16, 32, 64], strides: [2, 2]}`` for ``UNet``.
        features: E, the channels of the map that a network like ``UNet`` gives. Networks that give one vector for each
            image take the width of what their classifier reads, and no ``features``. Decided here: 32.
        weights: Weights to start from, a file of each site known by its digest; random ones by default. Nothing is ever
            downloaded.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.monai_network.monai_network:MONAINetwork"
    spatial_dims: ClassVar[int] = 2
    set_elsewhere: ClassVar[Mapping[str, str]] = {
        "spatial_dims": "it follows from the backbone's name: monai reads images, monai_volume reads volumes",
        **dict.fromkeys(("in_channels", "n_input_channels"), "the dataset says how many channels its images have"),
        **dict.fromkeys(("out_channels", "num_classes"), "the head is the method's: networks of maps take 'features'"),
    }

    name: Literal["monai"] = "monai"
    network: str = Field(default="DenseNet121", pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    features: int | None = Field(default=None, ge=1)


class MONAIVolumeConfig(MONAIConfig):
    """Any network of MONAI over volumes, by its name there; settings as those of ``monai``.

    Attributes:
        network: The name in ``monai.networks.nets``. Decided here: ``DenseNet121``.
        arguments: Handed on to the network.
        features: E, the channels of the map that a network like ``UNet`` gives. Decided here: 32.
        weights: Weights to start from, a file of each site known by its digest; random ones by default.
    """

    need: ClassVar[DataNeed] = DataNeed.VOLUME
    spatial_dims: ClassVar[int] = 3

    name: Literal["monai_volume"] = "monai_volume"  # type: ignore[assignment]
