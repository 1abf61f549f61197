"""A group of channels while a network is followed from layer to layer."""

from dataclasses import dataclass, field

from fedward_models.backbones.backbone import Activation, Axis, ChannelGroup


@dataclass
class GroupDraft:
    """What is known of a group so far; see :class:`fedward_models.backbones.backbone.ChannelGroup`."""

    name: str
    channels: int
    outputs: list[Axis] = field(default_factory=list)
    inputs: list[Axis] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)

    def absorb(self, other: "GroupDraft") -> None:
        """Take over what is known of a group that has turned out to be this one."""
        self.outputs += other.outputs
        self.inputs += other.inputs
        self.activations += other.activations

    def group(self, *, feeds_head: bool, head_unit: int = 1) -> ChannelGroup:
        """The group, when all of the network was seen."""
        return ChannelGroup(
            name=self.name,
            channels=self.channels,
            outputs=tuple(self.outputs),
            inputs=tuple(self.inputs),
            activations=tuple(self.activations),
            feeds_head=feeds_head,
            head_unit=head_unit,
        )
