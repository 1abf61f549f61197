"""The settings of networks of timm, without torch."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from fedward_models.backbones.library_config import LibraryConfig


class TimmConfig(LibraryConfig):
    """Any image network of timm, by its name there.

    Attributes:
        network: The name in ``timm.list_models()``, e.g. ``resnet18``, ``convnext_atto`` or ``vit_tiny_patch16_224``.
            It is looked up where the network is built. Decided here: ``resnet18``.
        arguments: Handed on to the network, e.g. ``{drop_path_rate: 0.1}`` or ``{output_stride: 8}`` for finer maps.
        weights: Weights to start from, a file of each site known by its digest, with the names of timm's own
            checkpoints; random ones by default. Nothing is ever downloaded.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.timm_network.timm_network:TimmNetwork"
    set_elsewhere: ClassVar[Mapping[str, str]] = {
        "num_classes": "the head is the method's",
        "in_chans": "the dataset says how many channels its images have",
        "features_only": "features are taken from the last map",
    }

    name: Literal["timm"] = "timm"
    network: str = Field(default="resnet18", pattern=r"^[a-z0-9_]+$")
