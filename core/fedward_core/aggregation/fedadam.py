"""Adam at the server: FedAdam.

Paper: Reddi et al., Adaptive Federated Optimization, ICLR 2021, https://arxiv.org/abs/2003.00295, algorithm 2. As
there, the moments are not corrected for their start, and the second one starts at tau squared.

Differs: the mean of the updates is weighted by images, as everywhere here; the paper's algorithm takes the plain one.
"""

import numpy as np

from fedward_core.aggregation.config import FedAdamConfig
from fedward_core.aggregation.server_optimizer import ServerOptimizer
from fedward_core.arrays import Array


class FedAdam(ServerOptimizer):
    """Steps of about ``lr`` for each coordinate, whatever the size of its movements."""

    def __init__(self, config: FedAdamConfig) -> None:
        super().__init__()
        self.config = config

    def step(self, name: str, delta: Array) -> Array:
        """The rate times the first moment, over the root of the second plus tau."""
        beta1, beta2, tau = self.config.beta1, self.config.beta2, self.config.tau
        first = beta1 * self.moment("first", name, delta) + (1 - beta1) * delta
        second = beta2 * self.moment("second", name, delta, start=tau**2) + (1 - beta2) * delta**2
        self.keep("first", name, first)
        self.keep("second", name, second)
        step: Array = self.config.lr * first / (np.sqrt(second) + tau)
        return step
