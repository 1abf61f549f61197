"""A small convolutional network: quick to train on a laptop, and the network on which personalisations are compared.

    images -> [conv -> (norm) -> ReLU -> max-pool 2 x 2] per width -> flatten -> [linear -> ReLU] per hidden width

Paper: with the settings that the configuration names, this is the CIFAR network of P. P. Liang et al., "Think Locally,
Act Globally: Federated Learning with Local and Global Representations", 2020, arXiv:2001.01523, whose numbers CD2-pFed
compares with. Differs: their network ends in a log-softmax, ours in features, as every backbone does.
"""

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Activation, Axis, Backbone, ChannelGroup
from fedward_models.backbones.small_cnn.config import SmallCNNConfig


class SmallCNN(Backbone):
    """Convolutions, then hidden linear layers over the flattened map.

    Args:
        config: Widths, kernel, padding, normalisation.
        image_px: Height and width of the images.
        channels: Channels of the images.

    Raises:
        SpecError: The images are too small for so many stages.
    """

    def __init__(self, config: SmallCNNConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        self.config, self.image_px = config, image_px
        self.map_px = _map_px(config, image_px)
        flat = config.widths[-1] * self.map_px**2
        self.stages = nn.Sequential(*(_stage(config, *pair) for pair in _pairs(channels, config.widths)))
        self.hidden = nn.Sequential(*(_hidden(*pair) for pair in _pairs(flat, config.hidden)))
        self.num_features = config.hidden[-1] if config.hidden else flat

    def forward(self, images: Tensor) -> Tensor:
        """Features of whole images.

        Args:
            images: (B, C, H, W), float, standardised.

        Returns:
            (B, E), where E is the last hidden width, or the length of the flattened map without hidden layers.
        """
        features: Tensor = self.hidden(self.stages(images).flatten(1))
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """Features of places: those of the whole image, were its map shifted to put the place in the middle.

        So the hidden layers serve places too (the linear layer over a map is a convolution as large as the map; Long et
        al., CVPR 2015). The windows take (h*w) times the memory of the map: meant for small images.

        Args:
            images: (B, C, H, W), float, standardised.

        Returns:
            (B, E, h, w), where h and w are half of the image's size per stage.
        """
        before, after = (self.map_px - 1) // 2, self.map_px // 2
        padded = functional.pad(self.stages(images), (before, after, before, after))
        windows = functional.unfold(padded, self.map_px)  # (B, C*h*w, places), flattened as in forward
        features: Tensor = self.hidden(windows.transpose(1, 2))  # (B, places, E)
        return features.transpose(1, 2).reshape(images.shape[0], self.num_features, self.map_px, self.map_px)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Every convolution with its norm, and every hidden layer."""
        weights = [f"stages.{index}.conv.weight" for index in range(len(self.stages))]
        weights += [f"hidden.{index}.linear.weight" for index in range(len(self.hidden))]
        return tuple(self._group(weight, above) for weight, above in zip(weights, (*weights[1:], None), strict=True))

    def layer_of(self, name: str) -> int:
        """The layer of an entry of the state: stages from 0, then hidden layers."""
        part, index, _ = name.split(".", 2)
        return int(index) if part == "stages" else len(self.stages) + int(index)

    def num_layers(self) -> int:
        """Stages and hidden layers."""
        return len(self.stages) + len(self.hidden)

    def _group(self, weight: str, above: str | None) -> ChannelGroup:
        """The outputs of the layer with this weight, which the layer with the weight above reads, or the head."""
        state = self.state_dict()
        layer = weight.rsplit(".", 2)[0]
        # What follows the last stage reads each of its channels as one run of all places.
        unit = self.map_px**2 if self.layer_of(weight) == len(self.stages) - 1 else 1
        return ChannelGroup(
            name=layer,
            channels=len(state[weight]),
            outputs=tuple(Axis(tensor=name) for name in state if name.startswith(f"{layer}.") and state[name].ndim),
            inputs=(Axis(tensor=above, dim=1, unit=unit),) if above else (),
            activations=(Activation(module=layer, dim=1 if layer.startswith("stages") else -1),),
            feeds_head=above is None,
            head_unit=1 if above else unit,
        )


def _pairs(inputs: int, widths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Input and output width of each layer in a row."""
    return zip((inputs, *widths[:-1]), widths, strict=False)


def _stage(config: SmallCNNConfig, inputs: int, outputs: int) -> nn.Sequential:
    normalised = config.norm == "batch"
    conv = nn.Conv2d(inputs, outputs, config.kernel_px, padding=config.padding, bias=not normalised)
    norm = [("norm", nn.BatchNorm2d(outputs))] if normalised else []
    return nn.Sequential(OrderedDict([("conv", conv), *norm, ("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2))]))


def _hidden(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict([("linear", nn.Linear(inputs, outputs)), ("relu", nn.ReLU())]))


def _map_px(config: SmallCNNConfig, image_px: int) -> int:
    """Height and width of the map after all stages."""
    map_px = image_px
    for _ in config.widths:
        map_px = (map_px if config.padding == "same" else map_px - config.kernel_px + 1) // 2
    if map_px < 1:
        raise SpecError(
            f"images of {image_px} pixels are too small for {len(config.widths)} stages of small_cnn: expected at "
            "least one pixel after the last pooling. Enlarge dataset.image_px, or give fewer widths"
        )
    return map_px
