"""The settings of networks of timm, without torch."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.spec import BackboneConfig
from fedward_models.backbones.library_arguments import Arguments
from fedward_models.frozen import FrozenWeights

_SET_ELSEWHERE = {
    "num_classes": "the head is the method's",
    "in_chans": "the dataset says how many channels its images have",
    "features_only": "features are taken from the last map",
}


class TimmConfig(BackboneConfig):
    """Any image network of timm, by its name there.

    Attributes:
        network: The name in ``timm.list_models()``, e.g. ``resnet18``, ``convnext_atto`` or ``vit_tiny_patch16_224``.
            It is looked up where the network is built. Decided here: ``resnet18``.
        arguments: Handed on to the network, e.g. ``{drop_path_rate: 0.1}`` or ``{output_stride: 8}`` for finer maps.
        weights: Weights to start from, a file of each site known by its digest, with the names of timm's own
            checkpoints; random ones by default. Nothing is ever downloaded.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.timm_network.timm_network:TimmNetwork"

    name: Literal["timm"] = "timm"
    network: str = Field(default="resnet18", pattern=r"^[a-z0-9_]+$")
    arguments: Arguments = Field(default_factory=dict)
    weights: FrozenWeights | None = None

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        for key, reason in _SET_ELSEWHERE.items():
            if key in self.arguments:
                raise ValueError(f"argument '{key}' is not yours to set, since {reason}: leave it out")
        return self
