"""Any network of MONAI that turns images or volumes into classes, or into maps, as a backbone.

Library: M. J. Cardoso et al., "MONAI: An open-source framework for deep learning in healthcare", 2022,
https://arxiv.org/abs/2211.02701. The networks keep their names of entries, under ``network.``.

A network of classes loses its last linear layer, and gives what that read; where its global pooling can be taken away
too, without a change of features, it gives a map. A network of maps, such as a U-Net, is told how many channels its map
shall have, and the head reads these. What a network does is seen on an example when it is built, not assumed.

Letters: B batch, C channel, D depth, H height, W width, E features, h and w the grid of a map, ... D, H, W or h, w.
"""

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.backbones.library_network import check_size, layers_of, load_library_weights
from fedward_models.backbones.monai_network.config import MONAIConfig
from fedward_models.backbones.monai_network.construction import build_network
from fedward_models.backbones.traced_groups import traced_groups

_FEATURES = 32


class MONAINetwork(Backbone):
    """A network of MONAI without its classifier.

    Args:
        config: Which network, and its arguments.
        image_px: Height and width of the images; volumes are as deep as the data say.
        channels: Channels of the images.

    Raises:
        SpecError: There is no such network, it does not take an argument, does not read such images, or a setting has
            no effect on it.
        CheckpointError: The weights are missing, or of another network.
    """

    def __init__(self, config: MONAIConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        check_size(image_px)
        self.config, self._side_px, self.channels = config, image_px, channels
        if config.spatial_dims == 2:  # what reads volumes has no such size, and EVP then refuses it
            self.image_px = image_px
        outputs = config.features or _FEATURES
        self.network = build_network(config, image_px=image_px, channels=channels, outputs=outputs)
        given = self._seen()
        self._gives_maps = given.ndim > 2
        without = () if self._gives_maps else (self._take_classifier_off(given),)
        self.num_features = outputs if self._gives_maps else self._seen().shape[1]
        self._pools_here = not self._gives_maps and self._pooling_came_off()
        if config.weights:
            load_library_weights(self.network, config.weights, without=without, fit=lambda _, tensor: tensor)
        self._layers = layers_of(self.network, prefix="network.")

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the last map, or what the classifier read: (B, C, ...) to (B, E)."""
        features: Tensor = self.network(images)
        if self._gives_maps:
            return features.flatten(2).mean(dim=2)
        return torch.unflatten(features, 1, (self.num_features, -1)).mean(dim=2) if self._pools_here else features

    def feature_map(self, images: Tensor) -> Tensor:
        """Features of places: (B, C, H, W) to (B, E, h, w), as fine as the network's map.

        Raises:
            SpecError: The network gives no map, or it is one of volumes whose places lie in one row.
        """
        features: Tensor = self.network(images)
        if self._gives_maps:
            return features
        if not self._pools_here or self.config.spatial_dims == 3:
            raise SpecError(
                f"MONAI's '{self.config.network}' gives one vector for each image and no map, so it cannot segment: "
                "choose a network of maps, such as UNet"
            )
        side = isqrt(features.shape[1] // self.num_features)
        return features.reshape(images.shape[0], self.num_features, side, side)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The channels of convolutions, norms, linear layers and sums, as found in the network's graph.

        Raises:
            SpecError: The network does more than that, e.g. concatenation.
        """
        return traced_groups(self, self._example())

    def layer_of(self, name: str) -> int:
        """The block of an entry of the state, in MONAI's order."""
        return self._layers[name]

    def num_layers(self) -> int:
        """Blocks, the first included."""
        return max(self._layers.values()) + 1

    def _example(self) -> Tensor:
        """An image like those to come; of volumes, a cube."""
        sides = (self._side_px,) * self.config.spatial_dims
        return torch.rand(1, self.channels, *sides, generator=torch.Generator().manual_seed(0))

    def _seen(self) -> Tensor:
        """What the network gives for an example: (1, E), or (1, E, ...)."""
        training = self.network.training
        try:
            with torch.no_grad():
                given = self.network.eval()(self._example())
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise SpecError(
                f"MONAI's '{self.config.network}' does not read images of {self._side_px} pixels: {error}"
            ) from error
        finally:
            self.network.train(training)
        if not isinstance(given, Tensor) or given.ndim not in {2, 2 + self.config.spatial_dims}:
            raise SpecError(
                f"MONAI's '{self.config.network}' gives neither one vector nor one map for each image, so it cannot be "
                "a backbone: choose another network, or other arguments"
            )
        return given

    def _take_classifier_off(self, classes: Tensor) -> str:
        """Put nothing in place of the classifier, which gave these classes for the example; its name."""
        if self.config.features is not None:
            raise SpecError(
                f"MONAI's '{self.config.network}' gives one vector for each image, as wide as what its classifier "
                "reads, so 'features' has no effect: leave it out"
            )
        linear = [(name, module) for name, module in self.network.named_modules() if isinstance(module, nn.Linear)]
        name, classifier = linear[-1] if linear else ("", None)
        if classifier is not None:
            self.network.set_submodule(name, nn.Identity())
            read = self._seen()
            if read.shape == (1, classifier.in_features) and torch.equal(classifier(read), classes):
                return name
        raise SpecError(
            f"the last step of MONAI's '{self.config.network}' is no linear classifier, so it cannot be a backbone: "
            "choose another network"
        )

    def _pooling_came_off(self) -> bool:
        """Put nothing in place of the global pooling, if the mean over places then gives the same features."""
        pools = [n for n, module in self.network.named_modules() if isinstance(module, _AdaptiveAvgPoolNd)]
        if not pools:
            return False
        expected, pool = self._seen(), self.network.get_submodule(pools[-1])
        self.network.set_submodule(pools[-1], nn.Identity())
        try:
            found = torch.unflatten(self._seen(), 1, (self.num_features, -1)).mean(dim=2)
            if torch.allclose(found, expected, atol=1e-5):
                return True
        except (SpecError, RuntimeError):  # another layer needs the pooled form
            pass
        self.network.set_submodule(pools[-1], pool)
        return False
