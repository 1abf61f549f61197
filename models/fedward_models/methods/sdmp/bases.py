"""What SDMP is built on: heads, and how far an output is from the targets of a mix.

A base knows no branches and no mixing: it gives the online head, a copy of whose projector the momentum branch has, and
one loss against two targets, from which the method makes its three terms.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from fedward_models.layers.projection_heads import PrototypeHead, normed_head
from fedward_models.losses.two_targets import contrast, cross_entropy_of_two
from fedward_models.methods.sdmp.config import DINOConfig, MoCoConfig
from fedward_models.step import Clock


class Base(nn.Module):
    """A framework with an online and a momentum branch.

    Attributes:
        projector: The head that both branches have, each for itself.
    """

    projector: nn.Module

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """What the online branch makes of features: (B, E) to (B, D)."""

    @abstractmethod
    def loss(self, online: Tensor, target: Tensor, own: Tensor) -> Tensor:
        """The loss of each image against its own target and its partner's.

        Args:
            online: (B, D), from the online branch.
            target: (B, D), from the momentum branch.
            own: (B,) the weight of the own target.

        Returns:
            (B,).
        """

    def observe(self, targets: Tensor) -> None:
        """Note targets of clean images, (N, D); the state waits for :meth:`settle`. By default nothing is."""

    def settle(self) -> None:
        """Take in what was noted, after the step. By default nothing."""

    def after_backward(self, clock: Clock) -> None:
        """Called between backward and the optimiser. By default nothing is done."""


class MoCo(Base):
    """MoCo v3 (Chen et al., ICCV 2021): contrast with the keys of the batch, without a queue.

    Args:
        config: Its settings.
        features: E.
        transformer: Whether the heads are those beside a ViT (three layers, a last norm) or beside a ResNet.
    """

    def __init__(self, config: MoCoConfig, *, features: int, transformer: bool) -> None:
        super().__init__()
        self.config = config
        hidden = (config.hidden,) * (2 if transformer else 1)
        self.projector = normed_head(features, *hidden, config.width)
        self.predictor = normed_head(config.width, config.hidden, config.width, last_norm=transformer)

    def forward(self, features: Tensor) -> Tensor:
        """Queries: (B, E) to (B, D)."""
        queries: Tensor = self.predictor(self.projector(features))
        return queries

    def loss(self, online: Tensor, target: Tensor, own: Tensor) -> Tensor:
        """The contrast of queries with the keys of this batch alone."""
        return contrast(online, target, own, temperature=self.config.temperature, form=self.config.form)


class DINO(Base):
    """DINO (Caron et al., ICCV 2021): the teacher's centred and sharpened distribution is what the student predicts.

    Args:
        config: Its settings.
        features: E.
    """

    def __init__(self, config: DINOConfig, *, features: int) -> None:
        super().__init__()
        self.config = config
        self.projector = PrototypeHead(
            features=features, hidden=config.hidden, bottleneck=config.bottleneck, prototypes=config.prototypes
        )
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(config.prototypes))
        self._seen: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Similarities with prototypes: (B, E) to (B, K)."""
        similarities: Tensor = self.projector(features)
        return similarities

    def loss(self, online: Tensor, target: Tensor, own: Tensor) -> Tensor:
        """The cross-entropy with both teachers' distributions, weighted."""
        student = online / self.config.student_temperature
        return cross_entropy_of_two(student, (target - self.centre) / self.config.teacher_temperature, own)

    def observe(self, targets: Tensor) -> None:
        """Note the mean of a step's clean teacher outputs."""
        self._seen = targets.detach().mean(dim=0)

    def settle(self) -> None:
        """Move the centre towards what was noted."""
        if self._seen is not None:
            self.centre.lerp_(self._seen.to(self.centre), 1 - self.config.centre_momentum)
        self._seen = None

    def after_backward(self, clock: Clock) -> None:
        """Let prototypes stand still at first, and decay as little: what has no gradient is passed over."""
        if clock.position < self.config.frozen_rounds:
            self.projector.prototypes.grad = None


def build_base(config: MoCoConfig | DINOConfig, *, features: int, transformer: bool) -> Base:
    """The base that the settings name."""
    if isinstance(config, DINOConfig):
        return DINO(config, features=features)
    return MoCo(config, features=features, transformer=transformer)
