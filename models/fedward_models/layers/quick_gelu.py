"""The activation of CLIP's towers."""

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x times the logistic function of 1.702 x, with which OpenAI trained CLIP instead of the exact GELU."""

    def forward(self, values: Tensor) -> Tensor:
        """Element by element."""
        return values * torch.sigmoid(1.702 * values)
