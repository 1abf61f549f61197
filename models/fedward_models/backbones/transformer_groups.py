"""Where the heads and hidden units of a transformer block lie, for channel decoupling."""

from fedward_models.backbones.backbone import Activation, Axis, ChannelGroup


def heads_group(name: str, *, heads: int, unit: int, outputs: tuple[Axis, ...]) -> ChannelGroup:
    """The heads of an attention layer.

    Args:
        name: The layer, relative to the backbone; it has a projection ``proj``.
        heads: How many.
        unit: Channels of a head.
        outputs: What computes queries, keys and values.
    """
    return ChannelGroup(
        name=name,
        channels=heads,
        outputs=outputs,
        inputs=(Axis(tensor=f"{name}.proj.weight", dim=1, unit=unit),),
        activations=(Activation(module=f"{name}.proj", dim=-1, unit=unit, before=True),),
    )


def hidden_group(name: str, *, channels: int) -> ChannelGroup:
    """The hidden units of a two-layer network with the layers ``fc1``, ``act`` and ``fc2``."""
    return ChannelGroup(
        name=name,
        channels=channels,
        outputs=tuple(Axis(tensor=f"{name}.fc1.{part}") for part in ("weight", "bias")),
        inputs=(Axis(tensor=f"{name}.fc2.weight", dim=1),),
        activations=(Activation(module=f"{name}.act", dim=-1),),
    )
