"""A backbone that nothing changes, for what is trained beside it: a prompt before it, or a head on it.

    in the state (the previous stage's, as built)      outside of it (a file, known by its digest)
    backbone.*, under its own names                    nothing: sites hold the file, and nothing of it travels

Letters: B batch, C channel, H height, W width, E features.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.layers.frozen_module import FrozenModule, network_of

_HELD = "held."


class FrozenBackbone(Backbone):
    """A backbone in evaluation mode for ever, of which nothing is trained, cut or kept private.

    In the state its entries have the names that they would have without this, so that stages before and after it find
    them.

    Args:
        network: The backbone.
        inside: Whether its weights are part of the state.
    """

    def __init__(self, network: Backbone, *, inside: bool) -> None:
        super().__init__()
        self.num_features = network.num_features
        if hasattr(network, "image_px"):  # of flat images only
            self.image_px = network.image_px
        self.held: nn.Module = network.eval().requires_grad_(False) if inside else FrozenModule(network)
        self.register_state_dict_post_hook(_without_holder)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_holder)  # type: ignore[no-untyped-call]

    @property
    def network(self) -> Backbone:
        """The backbone."""
        network = network_of(self.held)
        assert isinstance(network, Backbone)
        return network

    @property
    def pooled(self) -> tuple[str, ...]:
        """Those of the backbone."""
        return self.network.pooled

    @property
    def clones(self) -> Mapping[str, str]:
        """Those of the backbone."""
        return self.network.clones

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature of torch
        """Stay in evaluation mode, so that no running statistic moves."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, E)."""
        features: Tensor = self.network(images)
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, E, h, w)."""
        return self.network.feature_map(images)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """None can be cut.

        Raises:
            SpecError: Always.
        """
        raise SpecError(
            "the backbone of this stage is frozen and has no channels to divide: personalise with ditto or local_only, "
            "or leave 'personalise' out"
        )

    def layer_of(self, name: str) -> int:  # noqa: ARG002 - the signature of the family
        """No layer is trained."""
        return 0

    def num_layers(self) -> int:
        """No layer is trained."""
        return 0


def _without_holder(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
    _renamed(state, prefix + _HELD, lambda name: prefix + name)


def _with_holder(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _renamed(state, prefix, lambda name: prefix + _HELD + name)


def _renamed(state: dict[str, Any], start: str, name_of: Callable[[str], str]) -> None:
    for name in [name for name in state if name.startswith(start)]:
        state[name_of(name.removeprefix(start))] = state.pop(name)
