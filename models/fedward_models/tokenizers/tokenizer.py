"""The contract of every tokenizer."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from fedward_models.batch import Batch


class Tokenizer(nn.Module):
    """Turns every patch of an image into one number of a vocabulary.

    It is frozen: without parameters, without entries in a state, and always computed in full precision.

    Attributes:
        vocabulary: V, how many numbers there are.
        side: Patches along each side of the image.
        note: What it is, with its digest, for the record of a run.
    """

    vocabulary: int
    side: int
    note: str

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """The tokens of all patches.

        Args:
            batch: Whole images; hidden patches too are read here, and nowhere else.

        Returns:
            (B, N) integers in [0, V), row by row.

        Raises:
            DataError: The images are not in the range that the tokenizer knows.
        """
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.tokens(batch)

    @abstractmethod
    def tokens(self, batch: Batch) -> Tensor:
        """(B, N) tokens of whole images, in full precision."""
