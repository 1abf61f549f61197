"""LARS: each layer's step is as long as its own weights allow, so that very large batches train.

Paper: Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017,
https://arxiv.org/abs/1708.03888, algorithm 1.

As in: MoCo v3 (Chen et al., ICCV 2021, released code): the rate multiplies the velocity and not what enters it, and
tensors of one dimension neither decay nor adapt.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

VELOCITY = "velocity"


class LARS(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum and a local rate for each tensor.

    Each group says its ``weight_decay`` and its ``trust``, the length of a tensor's gradient over that of the tensor
    itself; 0 leaves gradients as they are.

    Args:
        groups: Parameter groups with these two.
        lr: The rate of groups that name none.
        momentum: Decay of the velocity.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one step; a closure is not of use here."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if group["trust"]:
            gradient = gradient * local_rate(parameter, gradient, trust=group["trust"])
        state = self.state[parameter]
        if VELOCITY not in state:
            state[VELOCITY] = torch.zeros_like(parameter)
        state[VELOCITY].mul_(group["momentum"]).add_(gradient)
        parameter.sub_(state[VELOCITY], alpha=group["lr"])


def local_rate(parameter: Tensor, gradient: Tensor, *, trust: float) -> Tensor:
    """What a gradient is multiplied by, a scalar: trust |w| / |g|, or 1 where one of the two is zero."""
    length, steepness = parameter.norm(), gradient.norm()
    return torch.where((length > 0) & (steepness > 0), trust * length / steepness, torch.ones_like(length))
