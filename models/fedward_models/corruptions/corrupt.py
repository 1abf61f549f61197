"""The fifteen corruptions by name, and how often a classifier errs under them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_core.registry import unknown
from fedward_core.seeds import derive_seed
from fedward_models.corruptions import blur, digital, noise, weather

SEVERITIES = (1, 2, 3, 4, 5)

Corruption: TypeAlias = Callable[[Tensor, int, torch.Generator], Tensor]

CORRUPTIONS: dict[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (
        noise.gaussian_noise,
        noise.shot_noise,
        noise.impulse_noise,
        blur.defocus_blur,
        blur.glass_blur,
        blur.motion_blur,
        blur.zoom_blur,
        weather.snow,
        weather.frost,
        weather.fog,
        weather.brightness,
        digital.contrast,
        digital.elastic_transform,
        digital.pixelate,
        digital.jpeg_compression,
    )
}


@dataclass(frozen=True, kw_only=True)
class CorruptionErrors:
    """How often a classifier errs.

    Attributes:
        clean: The error on the images as they are, in [0, 1].
        corrupted: Errors by corruption, one for each severity.
        n: The images that each error rests on.
    """

    clean: float
    corrupted: Mapping[str, tuple[float, ...]]
    n: int


def corrupt(pixels: Tensor, name: str, severity: int, rng: torch.Generator) -> Tensor:
    """Corrupt images.

    Args:
        pixels: (B, C, H, W), float, in [0, 1].
        name: The corruption.
        severity: From 1 to 5.
        rng: A CPU generator; the same state gives the same images.

    Returns:
        Pixels of the same shape, in [0, 1].

    Raises:
        SpecError: There is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise SpecError(unknown(f"corruption '{name}'", name, tuple(CORRUPTIONS)))
    if severity not in SEVERITIES:
        raise SpecError(f"severities are 1 to 5, found {severity}")
    return CORRUPTIONS[name](pixels, severity, rng).clamp(0, 1)


@torch.no_grad()
def corruption_errors(  # noqa: PLR0913 - each by name
    classify: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    *,
    names: Iterable[str] = tuple(CORRUPTIONS),
    severities: Iterable[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 128,
) -> CorruptionErrors:
    """Corrupt all images in all ways, and count errors.

    Args:
        classify: From (B, C, H, W) pixels in [0, 1] to (B, K) logits or probabilities.
        pixels: (N, C, H, W), in [0, 1].
        labels: (N,) class numbers.
        names: Which corruptions.
        severities: Which severities.
        seed: Seeds each corruption and severity on its own, so that leaving some out changes no other.
        batch_size: Images that are classified together.
    """

    def error(name: str | None, severity: int) -> float:
        rng, wrong = torch.Generator().manual_seed(derive_seed(seed, "corruption", name or "", severity)), 0
        for images, truth in zip(torch.split(pixels, batch_size), torch.split(labels, batch_size), strict=True):
            seen = images if name is None else corrupt(images, name, severity, rng)
            wrong += int((classify(seen).argmax(dim=1) != truth).sum())
        return wrong / len(labels)

    severities = tuple(severities)
    corrupted = {name: tuple(error(name, severity) for severity in severities) for name in names}
    return CorruptionErrors(clean=error(None, 0), corrupted=corrupted, n=len(labels))
