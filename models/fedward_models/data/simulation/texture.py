"""Smooth random patterns: tissue, patches and grain."""

import numpy as np

from fedward_core.arrays import Array


def clouds(rng: np.random.Generator, count: int, px: int, *, cycles: float) -> Array:
    """Random patterns without a preferred place, (count, px, px), of mean 0 and deviation 1.

    Args:
        rng: Every draw.
        count: How many.
        px: Height and width.
        cycles: The typical number of bright patches across the image.
    """
    # Twice as wide, then cut: a pattern made of whole waves would meet itself at the opposite edge.
    spectrum = np.fft.rfft2(rng.standard_normal((count, 2 * px, 2 * px)))
    pattern = np.fft.irfft2(spectrum * np.exp(-((_frequency(2 * px) / (2 * cycles)) ** 2)), s=(2 * px, 2 * px))
    pattern = pattern[:, :px, :px]
    return np.asarray((pattern - pattern.mean(axis=(1, 2), keepdims=True)) / pattern.std(axis=(1, 2), keepdims=True))


def blur(images: Array, width_px: float) -> Array:
    """(N, H, W) images under a Gaussian of that deviation; edges are continued by mirroring."""
    margin = int(np.ceil(4 * width_px))
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    size = padded.shape[1]
    spread = np.exp(-2 * (np.pi * width_px * _frequency(size) / size) ** 2)
    blurred = np.fft.irfft2(np.fft.rfft2(padded) * spread, s=(size, size))
    return blurred[:, margin : size - margin, margin : size - margin]


def _frequency(px: int) -> Array:
    """(px, px // 2 + 1) waves across the image."""
    return np.asarray(np.hypot(np.fft.fftfreq(px)[:, None], np.fft.rfftfreq(px)[None, :]) * px)
