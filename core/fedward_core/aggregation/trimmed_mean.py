"""The coordinate-wise trimmed mean.

Paper: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
https://arxiv.org/abs/1803.01498, definition 2.
"""

import math

from fedward_core.aggregation.config import TrimmedMeanConfig
from fedward_core.aggregation.order_statistics import OrderStatistic
from fedward_core.errors import RoundError


class TrimmedMean(OrderStatistic):
    """Holds all updates of a round. Of each coordinate, the part ``trim`` is left out at either end, rounded down."""

    def __init__(self, config: TrimmedMeanConfig) -> None:
        super().__init__()
        self.config = config

    def num_trimmed(self, updates: int) -> int:
        """The part ``trim`` of the updates, rounded down.

        Raises:
            RoundError: That is none, and the mean would not be robust at all.
        """
        if updates < self.config.least_updates:
            raise RoundError(
                f"cannot leave out {self.config.trim} of {updates} updates at either end: expected at least "
                f"{self.config.least_updates} sites. Let more sites take part, or raise aggregate.trim"
            )
        return math.floor(self.config.exact_trim * updates)
