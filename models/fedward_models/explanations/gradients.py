"""Maps from gradients, for any classifier: what others would compare with.

Letters: B batch, C channel, D depth, H height, W width, F features, lower case a coarser grid.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Logit = Callable[[Tensor], Tensor]


def integrated_gradients(logit: Logit, images: Tensor, *, baseline: Tensor, steps: int = 32) -> Tensor:
    """The gradient along the straight way from a baseline, times the way (Sundararajan et al., ICML 2017, eq. 1 and 3).

    Args:
        logit: Images to (B,), in evaluation mode.
        images: (B, C, ...), standardised.
        baseline: What shows nothing; broadcasts to the images.
        steps: Places on the way, in the middle of equal parts. 20 to 300 in the paper.

    Returns:
        Of the shape of the images. It sums to the difference of both logits, up to the steps.
    """
    way, total = images - baseline, torch.zeros_like(images)
    for step in range(steps):
        place = (baseline + (step + 0.5) / steps * way).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(logit(place).sum(), place)
        total += gradient
    return way * total / steps


def grad_cam(logit: Logit, layer: nn.Module, images: Tensor) -> Tensor:
    """Maps of a convolutional layer, weighed by their mean gradients (Selvaraju et al., ICCV 2017, eq. 1 and 2).

    Args:
        logit: Images to (B,), in evaluation mode.
        layer: Gives (B, F, d, h, w) or (B, F, h, w) on the way.
        images: (B, C, D, H, W) or (B, C, H, W), standardised.

    Returns:
        (B, D, H, W) or (B, H, W), at least 0.
    """
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        value = logit(images).sum()
    finally:
        handle.remove()
    (features,) = seen
    (gradient,) = torch.autograd.grad(value, features)
    weights = gradient.flatten(2).mean(dim=2)
    coarse = torch.einsum("bf,bf...->b...", weights, features.detach()).relu()
    mode = "trilinear" if images.ndim == 5 else "bilinear"
    return functional.interpolate(coarse[:, None], size=images.shape[2:], mode=mode)[:, 0]
