"""The four projections of MGCA: whole image, places, whole report, words.

Letters: B batch, T tokens, E features, D what is compared.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_models.layers.projection_heads import normed_head


class Projection(nn.Module):
    """Two linear maps with batch norms, and length 1 (MGCA, Sec. 3.1).

    Args:
        features: E.
        hidden: Units between.
        width: D.
    """

    def __init__(self, features: int, *, hidden: int, width: int) -> None:
        super().__init__()
        self.layers = normed_head(features, hidden, width, bias=True)

    def forward(self, features: Tensor) -> Tensor:
        """(M, E) to (M, D), of length 1."""
        return functional.normalize(self.layers(features), dim=1)

    def of_tokens(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Project tokens, those of all samples under one norm.

        Args:
            tokens: (B, T, E).
            padding: (B, T) bool; tokens that are left out of the norm and give zeros.

        Returns:
            (B, T, D).
        """
        known = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if padding is None else ~padding
        projected: Tensor = self(tokens[known])
        return projected.new_zeros(*known.shape, projected.shape[1]).masked_scatter(known[..., None], projected)
