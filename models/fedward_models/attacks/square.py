"""The Square attack: random search without gradients, which masked or shattered gradients cannot mislead.

Paper: M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, "Square Attack: a query-efficient black-box adversarial
attack via random search", ECCV 2020, https://arxiv.org/abs/1912.00049, algorithms 1 and 2 (maximum norm).

Letters: B batch, C channel, H height, W width, K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedward_models.attacks.gradient import LogitsOf

# The schedule of the authors' code and of AutoAttack for 10,000 queries: after these, squares are smaller by so much.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_FACTORS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
_SCHEDULED = 10_000


@dataclass(frozen=True, kw_only=True)
class Square:
    """How to attack.

    Attributes:
        radius: Of the ball in the maximum norm, in units of pixels in [0, 1].
        queries: Passes through the classifier; AutoAttack takes 5000.
        area: The part of the image that the first squares cover; 0.8 in AutoAttack.
    """

    radius: float
    queries: int
    area: float = 0.8

    @torch.no_grad()
    def attack(self, logits_of: LogitsOf, pixels: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """The perturbation with the smallest margin that was found for each image.

        Args:
            logits_of: The classifier.
            pixels: (B, C, H, W), in [0, 1].
            labels: (B,) class numbers.
            rng: A CPU generator.

        Returns:
            (B, C, H, W); pixels with it added are in [0, 1].
        """
        found = (pixels + self.radius * _signs(pixels[:, :, :1], rng)).clamp(0, 1)  # stripes
        margins = margin(logits_of(found), labels)
        for query in range(1, self.queries):
            if not bool((margins > 0).any()):
                break
            tried = torch.where((margins > 0)[:, None, None, None], self._propose(found, pixels, query, rng), found)
            tried_margins = margin(logits_of(tried), labels)
            better = tried_margins < margins
            found = torch.where(better[:, None, None, None], tried, found)
            margins = torch.where(better, tried_margins, margins)
        return found - pixels

    def _propose(self, found: Tensor, pixels: Tensor, query: int, rng: torch.Generator) -> Tensor:
        """Set one square of each image to the border of the ball, with one sign a channel."""
        height, width = pixels.shape[2:]
        side = min(max(round((self._area_at(query) * height * width) ** 0.5), 1), height, width)
        rows, columns = (_interval(len(pixels), size, side, rng).to(pixels.device) for size in (height, width))
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        painted = (pixels + self.radius * _signs(pixels[:, :, :1, :1], rng)).clamp(0, 1)
        return torch.where(inside, painted, found)

    def _area_at(self, query: int) -> float:
        scaled = query * _SCHEDULED / self.queries
        factor = next((f for q, f in zip(reversed(_HALVINGS), reversed(_FACTORS), strict=True) if scaled > q), 1)
        return self.area / factor


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the right class leads the best other one, (B,); below zero the decision is wrong.

    Args:
        logits: (B, K), K at least 2.
        labels: (B,) class numbers.
    """
    right = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return right - others.amax(dim=1)


def _signs(like: Tensor, rng: torch.Generator) -> Tensor:
    return (2 * torch.randint(2, like.shape, generator=rng) - 1).to(like)


def _interval(batch: int, size: int, side: int, rng: torch.Generator) -> Tensor:
    first = torch.randint(size - side + 1, (batch, 1), generator=rng)
    places = torch.arange(size)[None]
    return (places >= first) & (places < first + side)
