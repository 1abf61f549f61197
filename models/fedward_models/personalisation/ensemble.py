"""What all personal models together predict: for an image whose site is unknown, or took no part.

Source: Y. Shen, Y. Zhou, L. Yu, CD2-pFed, CVPR 2022, arXiv:2204.03880, evaluates "New" and "External" images so. Which
mean is taken is not known; decided here: that of the probabilities. LG-FedAvg (Liang et al., arXiv:2001.01523, released
code) takes that of their logarithms.

It needs every site's private weights in one place. That is possible where one machine plays every site, and for nothing
else: it is a way to evaluate research, not to serve hospitals.

Letters: B batch, C channel, H height, W width, K classes.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.method import Method


@dataclass(frozen=True, kw_only=True)
class Member:
    """A personal model with its site's standardisation, without which it would see other images than in training.

    Attributes:
        state: The state dict, tensors of its own.
        mean: The mean of the site's training images, in [0, 1].
        std: Their standard deviation, in [0, 1].
    """

    state: dict[str, Tensor]
    mean: float
    std: float

    @classmethod
    def of(cls, method: Method, *, mean: float, std: float) -> "Member":
        """A copy of a method as it stands."""
        return cls(state={name: tensor.clone() for name, tensor in method.state_dict().items()}, mean=mean, std=std)


class Ensemble:
    """The mean prediction of models of one form.

    One module takes each member's weights in turn: stacked into one pass (``torch.vmap``), a hundred small CNNs were
    slower on CPU, for a convolution over many networks is a grouped one.

    Args:
        method: The form; its own weights are not used.
        members: At least one.
        mean: ``arithmetic`` of the probabilities, or ``geometric``: of their logarithms, then scaled to sum to 1.
    """

    def __init__(
        self, method: Method, members: Iterable[Member], *, mean: Literal["arithmetic", "geometric"] = "arithmetic"
    ) -> None:
        self._form = deepcopy(method).eval()
        self._members = tuple(members)
        self._geometric = mean == "geometric"
        assert self._members, "an ensemble needs a member"

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Predict a batch.

        Args:
            images: (B, C, H, W), uint8, as they are read: each member standardises them as its site does.

        Returns:
            (B, K) probabilities.
        """
        shares = images.float() / 255
        mean: Tensor = sum((self._vote(member, shares) for member in self._members), torch.zeros(()))
        mean = mean / len(self._members)
        return mean.softmax(dim=1) if self._geometric else mean

    def _vote(self, member: Member, shares: Tensor) -> Tensor:
        self._form.load_state_dict(member.state)
        images = (shares - member.mean) / member.std
        probabilities = self._form.predict_batch(Batch(images=images, mean=member.mean, std=member.std))
        if not self._geometric:
            return probabilities
        # A probability too small for a float is 0: with one such vote against every class, no product would be left.
        return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
