"""A network of a few convolutions: what trials set beside others, or attack."""

from torch import Tensor, nn

from fedward_models.backbones.backbone import Backbone, ChannelGroup


class Convolutions(Backbone):
    """Layers one after the other, then the mean over all places.

    Args:
        layers: From images to a map.
        num_features: Channels of the map.
    """

    def __init__(self, *layers: nn.Module, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, E)."""
        features = self.feature_map(images)
        return features.mean(dim=tuple(range(2, features.ndim)))

    def feature_map(self, images: Tensor) -> Tensor:
        """(B, E, h, w), or (B, E, d, h, w) of volumes."""
        features: Tensor = self.layers(images)
        return features

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """None: it is not personalised."""
        return ()

    def layer_of(self, name: str) -> int:
        """The layer."""
        return int(name.split(".")[1])

    def num_layers(self) -> int:
        """Layers."""
        return len(self.layers)
