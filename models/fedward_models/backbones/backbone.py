"""The contract of every backbone, and how it says where its channels are."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where the channels of a group lie in a tensor of the state; see ``fedward_core.channel_cut.Cut``.

    Attributes:
        tensor: The state-dict name, relative to the backbone.
        dim: The axis.
        unit: Neighbouring entries that belong to one channel.
        tiles: How often the sequence of channels repeats along the axis.
    """

    tensor: str
    dim: int = 0
    unit: int = 1
    tiles: int = 1


def norm_axes(name: str, *, statistics: bool = True) -> tuple[Axis, ...]:
    """Where channels lie in the entries of a norm: scale, shift and, of a batch norm, its statistics.

    Args:
        name: The norm, relative to the backbone.
        statistics: Whether it has some.
    """
    parts = ("weight", "bias", *(("running_mean", "running_var") if statistics else ()))
    return tuple(Axis(tensor=f"{name}.{part}") for part in parts)


@dataclass(frozen=True, kw_only=True)
class Activation:
    """The output of a module in which the channels of a group appear, for passes through one half only.

    Attributes:
        module: The module's name, relative to the backbone. Its output is masked; with ``before``, its input.
        dim: The axis of the channels, from the end if negative.
        unit: Neighbouring entries that belong to one channel.
        before: Mask the module's input instead, e.g. of the projection that follows attention.
    """

    module: str
    dim: int = 1
    unit: int = 1
    before: bool = False


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Channels that are private or shared together.

    A layer, the layers that add into one residual stream, attention heads, or hidden units.

    Attributes:
        name: For messages.
        channels: How many.
        outputs: Tensors whose output axis these channels are: weights, biases, norms and their statistics.
        inputs: Weights whose input axis these channels are.
        activations: Where a pass through one half masks.
        feeds_head: Whether the features that the classifier reads consist of these channels.
        head_unit: Features of one channel, where ``feeds_head``: more than one after flattening a map.
    """

    name: str
    channels: int
    outputs: tuple[Axis, ...]
    inputs: tuple[Axis, ...] = ()
    activations: tuple[Activation, ...] = ()
    feeds_head: bool = False
    head_unit: int = 1


class Backbone(nn.Module):
    """A network that turns images into features.

    Attributes:
        num_features: E, the width of the features.
        image_px: H and W of the images it was built for; backbones of volumes and clips have none.
        no_weight_decay: Parameters that fine-tuning spares the weight decay, beside biases and norms.
    """

    num_features: int
    image_px: int
    no_weight_decay: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features of whole images.

        Args:
            images: (B, C, H, W), float, standardised.

        Returns:
            (B, E).
        """

    @abstractmethod
    def feature_map(self, images: Tensor) -> Tensor:
        """Features of places, for segmentation: (B, E, h, w), coarser than the image."""

    @property
    def pooled(self) -> tuple[str, ...]:
        """Modules that serve the features only. By default there are none.

        Pre-training that reads tokens has none of them, so that a stage that follows may start them anew.
        """
        return ()

    @property
    def clones(self) -> Mapping[str, str]:
        """Entries that a stage after pre-training copies from one that pre-training shares, by the name of that one.

        By default there are none.
        """
        return {}

    @abstractmethod
    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Which channels channel decoupling may cut."""

    @abstractmethod
    def layer_of(self, name: str) -> int:
        """The layer of a parameter, for layer-wise rate decay.

        It is 0 for embeddings, and :meth:`num_layers` for what goes with the head.
        """

    @abstractmethod
    def num_layers(self) -> int:
        """Layers, embeddings included; what sits on top has this number."""
