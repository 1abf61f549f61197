"""Local temporal averaging: a site goes on from a running average of its weights over its local epochs.

    w_t = beta_t w'_t + (1 - beta_t) w_(t-1)            beta_t = min(1 - 1 / (t + 1), beta)

Paper: Y. Shen, Y. Zhou, L. Yu, CVPR 2022, arXiv:2204.03880: the average, and a weight that grows to a maximum. Decided
here: t counts the site's epochs over the whole stage, the form of the ramp, and that w_(t-1) is what was downloaded
where a round begins. Statistics of norms are not averaged.
"""

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

from fedward_core.partition import Partition, Role
from fedward_models.method import Method
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.training.terms import LocalTerm

EPOCHS = "local_epochs"


def count_epochs(method: Method) -> None:
    """Give a method a counter of the epochs that a site has trained it; like every counter it stays at the site."""
    method.register_buffer(EPOCHS, torch.zeros((), dtype=torch.int64))


class TemporalAveraging(LocalTerm):
    """Averages after every epoch.

    Args:
        config: The weight, its ramp and the scope.
        partition: Says what is private, in this round.
    """

    def __init__(self, config: ChannelDecouplingConfig, partition: Partition) -> None:
        assert config.temporal_averaging is not None
        self._config = config
        self._maximum = config.temporal_averaging
        self._partition = partition
        self._before: dict[str, Tensor] = {}
        self._only: dict[str, Tensor] = {}

    def begin(self, method: Method) -> None:
        """Copy the weights of the round's start."""
        named = method.named_parameters()
        self._before = {n: p.detach().clone() for n, p in named if p.requires_grad and self._averages(n)}
        self._only = {name: where.to(self._before[name].device) for name, where in self._private_parts()}

    def after_epoch(self, method: Method) -> None:
        """Put the average in the place of the weights, and count the epoch."""
        weight = self.weight(int(method.get_buffer(EPOCHS).add_(1)))
        with torch.no_grad():
            for name, before in self._before.items():
                parameter = method.get_parameter(name)
                average = weight * parameter + (1 - weight) * before
                only = self._only.get(name)
                parameter.copy_(average if only is None else torch.where(only, average, parameter))
                before.copy_(parameter)

    def weight(self, epoch: int) -> float:
        """beta_t of the site's epoch t, counted from 1."""
        if not self._config.averaging_ramp:
            return self._maximum
        return min(float(1 - Fraction(1, epoch + 1)), self._maximum)

    def _averages(self, name: str) -> bool:
        if self._config.averaging_scope == "all":
            return True
        return self._partition.role(name) is Role.PRIVATE or self._partition.shared_mask(name) is not None

    def _private_parts(self) -> Iterator[tuple[str, Tensor]]:
        """Of entries that are only partly averaged, which part is."""
        for name in self._before:
            shared = self._partition.shared_mask(name)
            if self._config.averaging_scope == "private" and shared is not None:
                yield name, torch.from_numpy(~shared)
