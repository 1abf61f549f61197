"""The decoder of masked autoencoders: from the tokens of visible patches to the pixels of all patches."""

import torch
from torch import Tensor, nn

from fedward_models.layers.masking import Mask
from fedward_models.layers.positions import sine_positions
from fedward_models.layers.transformer import initialise, layer_norm, transformer_blocks


class PatchDecoder(nn.Module):
    """A narrow transformer that sees every place, with one learned token where a patch is hidden (MAE, He et al.).

    Letters: B batch, K visible patches, N patches, E encoder width, V values of a patch.

    Args:
        encoder_width: E.
        width: The decoder's own width, a multiple of 4 and of ``heads``.
        depth: Blocks.
        heads: Attention heads.
        side: Patches along each side of the image.
        num_values: V.
    """

    def __init__(  # noqa: PLR0913 - every size by its name
        self, *, encoder_width: int, width: int, depth: int, heads: int, side: int, num_values: int
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.blocks = transformer_blocks(width=width, depth=depth, heads=heads)
        self.norm = layer_norm(width)
        self.pred = nn.Linear(width, num_values)
        # Differs: SSL-FL sends this constant table every round, as a parameter. Here it is rebuilt, and never travels.
        self.register_buffer("positions", sine_positions(width=width, side=side), persistent=False)
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, mask: Mask) -> Tensor:
        """Predict every patch.

        Args:
            tokens: (B, 1+K, E), class token first.
            mask: Which patches the tokens are.

        Returns:
            (B, N, V).
        """
        tokens = self.embed(tokens)
        patches = mask.fill(tokens[:, 1:], self.mask_token.to(tokens.dtype))
        tokens = torch.cat([tokens[:, :1], patches], dim=1) + self.get_buffer("positions")
        for block in self.blocks:
            tokens = block(tokens)
        predicted: Tensor = self.pred(self.norm(tokens[:, 1:]))
        return predicted
