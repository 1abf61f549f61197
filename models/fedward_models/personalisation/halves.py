"""Passes through one half of a network: through its shared channels alone, or through its private ones.

Every activation of the other half is set to zero where it appears. A masked channel contributes nothing above it, so a
pass through the shared half uses weights between shared channels only, whatever the private ones hold, and the other
way round. What cannot be divided (a group of one channel, a residual stream that declares no group) is in both halves.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from fedward_core.channel_cut import private_channels
from fedward_models.backbones.backbone import ChannelGroup
from fedward_models.method import Method


class Half(StrEnum):
    """Which channels a pass goes through."""

    SHARED = "shared"
    PRIVATE = "private"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A place where a pass through one half is masked.

    Attributes:
        module: The module's name in the method. Its output is masked; with ``before``, its first input.
        dim: The axis of the channels.
        before: Whether the input is masked.
        private: (entries along the axis,), bool: whether an entry belongs to a private channel.
    """

    module: str
    dim: int
    before: bool
    private: Tensor

    def closed(self, activation: Tensor, half: Half) -> Tensor:
        """The activation with everything outside of a half set to zero.

        Zeros are filled in, not multiplied: what is masked stays out even where it is not finite.
        """
        outside = self.private if half is Half.SHARED else ~self.private
        shape = [1] * activation.ndim
        shape[self.dim] = -1
        return activation.masked_fill(outside.to(activation.device).view(shape), 0)


def gates(method: Method, share: Fraction) -> tuple[Gate, ...]:
    """Where passes are masked at a private share; nowhere if no channel or every channel is private."""
    if share == 1:
        return ()
    return tuple(gate for group in method.backbone.channel_groups() for gate in _gates(group, share))


@contextmanager
def only(half: Half, method: Method, places: tuple[Gate, ...]) -> Iterator[None]:
    """Within the block, the method's forward passes go through one half and leave no trace in its buffers."""
    with ExitStack() as stack:
        for gate in places:
            stack.callback(_hook(gate, method.get_submodule(gate.module), half).remove)
        stack.enter_context(_statistics_untouched(method))
        yield


def _gates(group: ChannelGroup, share: Fraction) -> Iterator[Gate]:
    private = private_channels(group.channels, share)
    if not private:
        return
    flags = torch.arange(group.channels) >= group.channels - private
    for place in group.activations:
        entries = flags.repeat_interleave(place.unit)
        yield Gate(module=f"backbone.{place.module}", dim=place.dim, before=place.before, private=entries)
    if group.feeds_head:
        # The classifier's own input, where norms or biases of the backbone may have filled zeros again.
        yield Gate(module="head", dim=1, before=True, private=flags.repeat_interleave(group.head_unit))


def _hook(gate: Gate, module: nn.Module, half: Half) -> torch.utils.hooks.RemovableHandle:
    if gate.before:
        return module.register_forward_pre_hook(lambda _, inputs: (gate.closed(inputs[0], half), *inputs[1:]))
    return module.register_forward_hook(lambda _, __, output: gate.closed(output, half))


@contextmanager
def _statistics_untouched(method: Method) -> Iterator[None]:
    """Normalise by the batch, as in training, but leave running statistics and their counters alone.

    A norm that does not track statistics is given none to update; nothing has to be copied or restored.
    """
    tracking = [m for m in method.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
