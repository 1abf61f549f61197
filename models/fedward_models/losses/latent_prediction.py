"""How far a prediction is from what another network made of the same image, whatever their lengths.

Source: J.-B. Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, https://arxiv.org/abs/2006.07733, equation 2.
"""

from torch import Tensor
from torch.nn import functional


def latent_prediction(predicted: Tensor, target: Tensor) -> Tensor:
    """The squared distance of both after they are brought to length 1: 2 - 2 cos, in [0, 4].

    Args:
        predicted: (B, D), float.
        target: (B, D), float; it takes no gradient.

    Returns:
        (B,).
    """
    return 2 - 2 * functional.cosine_similarity(predicted, target.detach(), dim=1)
