"""The coordinate-wise trimmed mean.

Paper: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
https://arxiv.org/abs/1803.01498, definition 2.
"""

import math
from fractions import Fraction

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
        trim = Fraction(str(self.config.trim))  # exact: 0.29 of 100 is 29, not 28.999...
        trimmed = math.floor(trim * updates)
        if not trimmed:
            raise RoundError(
                f"cannot leave out {self.config.trim} of {updates} updates at either end: expected at least "
                f"{math.ceil(1 / trim)} sites. Let more sites take part, or raise aggregate.trim"
            )
        return trimmed
