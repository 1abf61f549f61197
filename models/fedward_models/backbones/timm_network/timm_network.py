"""Any image network of timm as a backbone.

Library: R. Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models. The networks keep
their names of entries, under ``network.``, so that their published weights load once they are safetensors.

Differs: the features of a place are those that timm's own head makes of a map that is that place alone. So they are as
wide as the features of an image, and its norms and hidden layers serve them too.

Letters: B batch, C channel, H height, W width, N tokens, E features, h and w the grid of the last map.
"""

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.backbones.library_network import check_size, layers_of, load_library_weights, unknown_network
from fedward_models.backbones.timm_network.config import TimmConfig
from fedward_models.backbones.traced_groups import traced_groups
from fedward_models.frozen import FrozenWeights


class TimmNetwork(Backbone):
    """A network of timm without its classifier.

    Args:
        config: Which network, and its arguments.
        image_px: Height and width of the images.
        channels: Channels of the images.

    Raises:
        SpecError: There is no such network, it does not take an argument, or it does not read such images.
        CheckpointError: The weights are missing, or of another network.
    """

    network: Any  # what timm adds to a module, such as forward_features, has no type of its own

    def __init__(self, config: TimmConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        check_size(image_px)
        self.config, self.image_px, self.channels = config, image_px, channels
        self.network = _network(config, image_px, channels)
        if config.weights:
            _load(self.network, config.weights, channels)
        self.num_features = _num_features(self.network, image_px, channels)
        self._layers = layers_of(self.network, prefix="network.")

    def forward(self, images: Tensor) -> Tensor:
        """What timm's head makes of the last map, before the classifier: (B, C, H, W) to (B, E)."""
        features: Tensor = self.network(images)
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """Features of places: (B, C, H, W) to (B, E, h, w), where h and w are the image's over the network's stride.

        Raises:
            SpecError: The network's last features lie on no grid.
        """
        places, (height, width) = self._places(self.network.forward_features(images))
        features: Tensor = self.network.forward_head(places, pre_logits=True)
        return features.reshape(images.shape[0], height, width, self.num_features).permute(0, 3, 1, 2)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The channels of convolutions, norms, linear layers and sums, as found in the network's graph.

        Raises:
            SpecError: The network does more than that, e.g. attention or concatenation.
        """
        from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d  # noqa: PLC0415 - timm is slow to import
        from timm.layers.drop import DropPath  # noqa: PLC0415 - as above

        example = torch.zeros(1, self.channels, self.image_px, self.image_px)
        return traced_groups(self, example, keeping=(DropPath, SelectAdaptivePool2d))

    def layer_of(self, name: str) -> int:
        """The block of an entry of the state, in timm's order."""
        return self._layers[name]

    def num_layers(self) -> int:
        """Blocks, the stem included."""
        return max(self._layers.values()) + 1

    def _places(self, last: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Each place of the last features as a map of its own, and the grid that they came from."""
        if last.ndim == 3:
            return self._token_places(last)
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":  # timm says so by an attribute where it differs
            _, height, width, _ = last.shape
            return last.flatten(0, 2)[:, None, None, :], (height, width)
        _, _, height, width = last.shape
        return last.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None], (height, width)

    def _token_places(self, tokens: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens as sequences of themselves, so that any pooling over (or past) the first ones gives them back."""
        first = getattr(self.network, "num_prefix_tokens", 0)
        patches = tokens[:, first:]
        side = isqrt(patches.shape[1])
        if side**2 != patches.shape[1]:
            raise SpecError(
                f"timm's '{self.config.network}' gives {patches.shape[1]} tokens, which lie on no square: it cannot "
                "segment. Choose another network"
            )
        return patches.flatten(0, 1).unsqueeze(1).expand(-1, 1 + first, -1), (side, side)


def _network(config: TimmConfig, image_px: int, channels: int) -> Any:
    import timm  # noqa: PLC0415 - it is slow to import

    if not timm.is_model(config.network):
        raise unknown_network("timm", config.network, timm.list_models())
    arguments: dict[str, Any] = dict(config.arguments)
    published = timm.get_pretrained_cfg(config.network)
    if published is not None and published.fixed_input_size:
        arguments.setdefault("img_size", image_px)
    try:
        return timm.create_model(config.network, pretrained=False, num_classes=0, in_chans=channels, **arguments)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise SpecError(
            f"timm cannot build '{config.network}' for images of {image_px} pixels with the arguments "
            f"{', '.join(sorted(arguments)) or 'none'}: {error}"
        ) from error


def _num_features(network: nn.Module, image_px: int, channels: int) -> int:
    """E, as seen on an image of nothing."""
    training = network.training
    try:
        with torch.no_grad():
            features = network.eval()(torch.zeros(1, channels, image_px, image_px))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise SpecError(f"this network of timm does not read images of {image_px} pixels: {error}") from error
    finally:
        network.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise SpecError("this network of timm gives something else than one vector for each image: choose another")
    return features.shape[1]


def _load(network: Any, weights: FrozenWeights, channels: int) -> None:
    """Load a checkpoint as timm publishes it: of three channels, and with a classifier."""
    from timm.models import adapt_input_conv  # noqa: PLC0415 - as above

    published = network.pretrained_cfg
    first, classifier = _names(published.get("first_conv")), _names(published.get("classifier"))

    def fit(name: str, tensor: Tensor) -> Tensor:
        adapted: Tensor = adapt_input_conv(channels, tensor) if name.removesuffix(".weight") in first else tensor
        return adapted

    load_library_weights(network, weights, without=classifier, fit=fit)


def _names(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())
