"""The coordinate-wise median.

Paper: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
https://arxiv.org/abs/1803.01498, definition 1.
"""

from fedward_core.aggregation.config import MedianConfig
from fedward_core.aggregation.order_statistics import OrderStatistic


class Median(OrderStatistic):
    """Holds all updates of a round. With an even number of them, the mean of the two in the middle."""

    def __init__(self, config: MedianConfig) -> None:
        super().__init__()
        self.config = config

    def num_trimmed(self, updates: int) -> int:
        """All but the one or two in the middle."""
        return (updates - 1) // 2
