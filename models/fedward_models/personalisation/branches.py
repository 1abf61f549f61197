"""Two narrow networks side by side in one dense network: the weights between its halves are zero and stay so.

Their logits then add: with the classifier's bias b in each, full = shared + private - b.
"""

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_core.partition import Partition
from fedward_models.method import Method
from fedward_models.training.terms import LocalTerm

MIXING = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Branches(LocalTerm):
    """Removes the weights between shared and private channels, and keeps training from bringing them back.

    Args:
        partition: Says which these are, in this round.
    """

    def __init__(self, partition: Partition) -> None:
        masks = {name: partition.crossing_mask(name) for name in partition.manifest.names()}
        self._crossing = {name: torch.from_numpy(mask) for name, mask in masks.items() if mask is not None}

    def begin(self, method: Method) -> None:
        """Set them to zero."""
        with torch.no_grad():
            for name, crossing in self._crossing.items():
                _clear(method.get_parameter(name), crossing)

    def after_backward(self, method: Method) -> None:
        """Set their gradients to zero, so that they count for nothing where gradients are clipped."""
        for name, crossing in self._crossing.items():
            gradient = method.get_parameter(name).grad
            if gradient is not None:
                _clear(gradient, crossing)

    def after_step(self, method: Method) -> None:
        """Set them to zero again: moments of rounds in which they were trained still move them without a gradient."""
        self.begin(method)


def refuse_mixing(method: Method) -> None:
    """Refuse networks whose halves cannot be separated.

    Raises:
        SpecError: A norm takes its statistics over many channels, or features that no half owns reach the classifier.
    """
    mixing = [type(module).__name__ for module in method.backbone.modules() if isinstance(module, MIXING)]
    if mixing or not any(group.feeds_head for group in method.backbone.channel_groups()):
        found = f"its {mixing[0]} mixes channels" if mixing else "its features belong to both"
        raise SpecError(
            f"coupling 'branch' needs a network whose halves can stand side by side, but {found}: choose coupling "
            "'rows' or 'block', or a backbone with batch norm or none"
        )


def _clear(tensor: Tensor, where: Tensor) -> None:
    tensor.masked_fill_(where.to(tensor.device), 0)
