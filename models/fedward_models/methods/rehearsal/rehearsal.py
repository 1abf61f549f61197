"""The rehearsal: each site moves the weights a seeded step, so that every number is known in advance.

No paper: this is a fire drill. It needs numpy only and starts within a second. After a round a site holds
``w + site_step(seed, site, round)``, and the federation the weighted mean of that.
"""

import numpy as np

from fedward_core.arrays import Array, Arrays
from fedward_core.seeds import generator
from fedward_models.methods.rehearsal.config import RehearsalConfig


class Rehearsal:
    """Weights and the steps that sites take.

    Args:
        config: The size of the model.
    """

    def __init__(self, config: RehearsalConfig) -> None:
        self.config = config

    def initial(self) -> dict[str, Array]:
        """Zeros of the configured size."""
        length = max(int(self.config.megabytes * 1e6 / 4 / self.config.tensors), 1)
        return {f"tensor_{index}": np.zeros(length, np.float32) for index in range(self.config.tensors)}

    def train(self, weights: Arrays, *, seed: int, site: str, round_: int) -> tuple[dict[str, Array], int]:
        """One round at a site.

        Returns:
            The weights after it, and how many images the site pretends to have, 1 to 9.
        """
        rng = generator(seed, site, round_)
        num_examples = int(rng.integers(1, 10))
        return {name: array + np.float32(rng.normal()) for name, array in weights.items()}, num_examples
