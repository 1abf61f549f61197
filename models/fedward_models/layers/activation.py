"""Activation functions by name: ReLU and its smooth relatives."""

from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import nn

ActivationName: TypeAlias = Literal["relu", "silu", "gelu", "softplus", "elu", "mish"]

SHARPNESS = 10.0
"""Of the softplus log(1 + exp(b x)) / b (Xie et al., "Smooth Adversarial Training", arXiv:2006.14536)."""


def activation(name: ActivationName) -> nn.Module:
    """An activation of its own, which works element by element."""
    return _MAKERS[name]()


_MAKERS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": lambda: nn.Softplus(beta=SHARPNESS),
    "elu": nn.ELU,
    "mish": nn.Mish,
}
