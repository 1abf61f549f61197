"""One worker's share of every batch, where several train one site together."""

from dataclasses import dataclass

from torch import Tensor

from fedward_core.errors import SpecError
from fedward_core.seeds import derive_seed


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which worker this is.

    Attributes:
        index: Its number, counted from 0.
        count: How many there are; a single one has all of every batch.
    """

    index: int = 0
    count: int = 1

    def of(self, chosen: Tensor) -> Tensor:
        """Every ``count``-th image of a batch, as many at each worker; up to ``count - 1`` at its end are left out."""
        return chosen[self.index :: self.count][: len(chosen) // self.count]

    def own_seed(self, seed: int) -> int:
        """A seed for what this worker draws for its images; the first one's is that of a single worker."""
        return derive_seed(seed, "worker", self.index) if self.index else seed

    def check(self, num_images: int) -> None:
        """Make sure that no worker stands idle.

        Raises:
            SpecError: A batch of so many images has fewer than there are workers.
        """
        if num_images < self.count:
            raise SpecError(
                f"a batch of {num_images} images cannot be divided among {self.count} workers: take fewer workers, or "
                "raise local.batch_size where the site has more images"
            )
