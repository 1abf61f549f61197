"""Server momentum: FedAvgM.

Paper: Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification,
2019, https://arxiv.org/abs/1909.06335.
"""

from fedward_core.aggregation.config import FedAvgMConfig
from fedward_core.aggregation.server_optimizer import ServerOptimizer
from fedward_core.arrays import Array


class FedAvgM(ServerOptimizer):
    """A velocity that gathers the movements of the rounds."""

    def __init__(self, config: FedAvgMConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, name: str, delta: Array) -> Array:
        """The new velocity, v <- momentum * v + delta, times the rate."""
        velocity = self.config.momentum * self.moment("velocity", name, delta) + delta
        return self.config.lr * self.keep("velocity", name, velocity)
