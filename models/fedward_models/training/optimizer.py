"""From named parameters to an optimiser: layer-wise rates and exemptions from weight decay become parameter groups.

Every group keeps its ``lr_scale``; ``fit`` sets ``lr`` to the schedule's rate times that at every step.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.training.config import AdamWConfig, LARSConfig, SGDConfig
from fedward_models.training.lars import LARS

BACKBONE = "backbone."
MOMENTUM_FALL = "momentum_fall"
"""What a group's momentum loses from rate 0 to the peak, where it does."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A parameter as an optimiser sees it.

    Attributes:
        parameter: What is trained.
        lr_scale: Its rate over the schedule's.
        exempt: Whether a decay that spares some parameters spares this one.
    """

    parameter: nn.Parameter
    lr_scale: float = 1.0
    exempt: bool = False


def build_optimizer(method: Method, parameters: Mapping[str, nn.Parameter], local: Local) -> torch.optim.Optimizer:
    """The optimiser of a phase.

    Args:
        method: Says which layer a parameter belongs to, and which parameters the decay spares.
        parameters: What is trained, by name.
        local: The optimiser's settings and the layer decay.
    """
    trained = [
        Trained(
            parameter=parameter,
            lr_scale=_lr_scale(method, name, local.layer_decay),
            exempt=parameter.ndim <= 1 or name.endswith(".bias") or name in method.no_weight_decay,
        )
        for name, parameter in parameters.items()
    ]
    optimizer: torch.optim.Optimizer = local.optimizer.build(trained)
    return optimizer


def adamw(config: AdamWConfig, trained: Iterable[Trained]) -> torch.optim.AdamW:
    """AdamW, sparing exempt parameters the decay."""
    groups = _groups(trained, config.lr, lambda one: 0.0 if one.exempt else config.weight_decay)
    # On CPU the fused step gives the same bits with any number of threads, and is two to seven times as fast.
    on_cpu = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=on_cpu or None)


def sgd(config: SGDConfig, trained: Iterable[Trained]) -> torch.optim.SGD:
    """SGD; every parameter decays."""
    groups = _groups(trained, config.lr, lambda _: config.weight_decay)
    if config.peak_momentum is not None:
        groups = [{**group, MOMENTUM_FALL: config.momentum - config.peak_momentum} for group in groups]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)


def lars(config: LARSConfig, trained: Iterable[Trained]) -> LARS:
    """LARS; exempt parameters neither decay nor adapt."""
    trained = tuple(trained)
    adapting = _groups((one for one in trained if not one.exempt), config.lr, lambda _: config.weight_decay)
    exempt = _groups((one for one in trained if one.exempt), config.lr, lambda _: 0.0)
    groups = [*({**group, "trust": config.trust} for group in adapting), *({**group, "trust": 0.0} for group in exempt)]
    return LARS(groups, lr=config.lr, momentum=config.momentum)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group, and its momentum where that falls as the rate rises.

    Args:
        optimizer: As :func:`build_optimizer` gives it.
        rate: The schedule's, before layer-wise scaling.
    """
    peak = optimizer.defaults["lr"]
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
        if MOMENTUM_FALL in group:
            group["momentum"] = optimizer.defaults["momentum"] - group[MOMENTUM_FALL] * rate / peak


def _lr_scale(method: Method, name: str, layer_decay: float) -> float:
    """decay^(top - layer): 1 for the head and all else above the backbone (BEiT, Bao et al., ICLR 2022)."""
    if layer_decay == 1 or not name.startswith(BACKBONE):
        return 1.0
    layer = method.backbone.layer_of(name.removeprefix(BACKBONE))
    return float(layer_decay ** (method.backbone.num_layers() - layer))


def _groups(trained: Iterable[Trained], lr: float, decay_of: Callable[[Trained], float]) -> list[dict[str, Any]]:
    members: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for one in trained:
        members[one.lr_scale, decay_of(one)].append(one.parameter)
    return [
        {"params": parameters, "lr": lr * scale, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in members.items()
    ]
