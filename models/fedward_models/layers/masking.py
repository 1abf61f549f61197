"""Hiding patches at random, with exact counts.

    noise      0.7  0.1  0.9  0.4        one uniform number a patch
    order       1    3    0    2         ascending: the first ``num_visible`` stay
    visible    [1, 3]                    what the encoder sees
    hidden     [T, F, T, F]              what the loss reads
    restore    [2, 0, 3, 1]              where each patch is in the order

Letters: B batch, N patches, K visible patches, E embedding.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import torch
from torch import Tensor

from fedward_core.errors import SpecError


def num_visible(num_patches: int, *, mask_ratio: float, nearest: bool = False) -> int:
    """``floor(N * (1 - ratio))``, with the ratio taken as the decimal number that was written.

    With ``nearest``, the nearest number instead, halves upwards.
    Differs: SSL-FL computes in floating point, where 100 patches at 0.9 keep 9 (code/fed_mae/models_mae.py).
    """
    return floor(num_patches * (1 - Fraction(str(mask_ratio))) + (Fraction(1, 2) if nearest else 0))


def some_visible(num_patches: int, *, mask_ratio: float, nearest: bool = False) -> int:
    """The same, for a method that learns by what is hidden from what is visible.

    Raises:
        SpecError: The ratio hides every patch of an image, or none.
    """
    visible = num_visible(num_patches, mask_ratio=mask_ratio, nearest=nearest)
    if visible in (0, num_patches):
        raise SpecError(
            f"mask_ratio {mask_ratio} hides {num_patches - visible} of {num_patches} patches: expected some hidden and "
            "some visible. Choose another mask_ratio, or a smaller patch_px"
        )
    return visible


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which patches are hidden.

    Attributes:
        visible: (B, K) indices of visible patches, in the order in which the encoder sees them.
        restore: (B, N) the place of each patch in [visible | hidden].
        hidden: (B, N) whether a patch is hidden.
    """

    visible: Tensor
    restore: Tensor
    hidden: Tensor

    @classmethod
    def of(cls, noise: Tensor, *, num_visible: int) -> "Mask":
        """The mask of (B, N) uniform numbers: the smallest stay visible."""
        order = noise.argsort(dim=1, stable=True)
        restore = order.argsort(dim=1)
        return cls(visible=order[:, :num_visible], restore=restore, hidden=restore >= num_visible)

    def keep(self, tokens: Tensor) -> Tensor:
        """The visible ones of (B, N, E) tokens: (B, K, E)."""
        return _pick(tokens, self.visible)

    def fill(self, tokens: Tensor, filler: Tensor) -> Tensor:
        """Put (B, K, E) visible tokens back in their places, with the filler, (1, 1, E), in all others: (B, N, E)."""
        num_hidden = self.restore.shape[1] - tokens.shape[1]
        return _pick(torch.cat([tokens, filler.expand(tokens.shape[0], num_hidden, -1)], dim=1), self.restore)


def _pick(tokens: Tensor, index: Tensor) -> Tensor:
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
