"""Sites with images of noise, for benchmarks that train and learn nothing."""

from pathlib import Path

import numpy as np


def write_noise(
    folder: Path, *, sites: int, images: tuple[int, int], shape: tuple[int, ...], classes: int = 2
) -> tuple[str, ...]:
    """Write one file for each site, always with the same content, and give their names.

    Args:
        folder: Where to; it is made if it is not there.
        sites: How many.
        images: How many of each site are to train on, and how many to test on.
        shape: Of an image: (H, W), or (H, W, 3) in colour.
        classes: How many; images have them in turn.
    """
    folder.mkdir(exist_ok=True)
    rng, (train, test) = np.random.default_rng(0), images
    names = tuple(f"site-{index:02d}" for index in range(sites))
    for name in names:
        np.savez(
            folder / f"{name}.npz",
            images=rng.integers(0, 256, (train + test, *shape), np.uint8),
            labels=np.arange(train + test) % classes,
            split=np.array(["train"] * train + ["test"] * test),
            classes=np.arange(classes).astype(str),
        )
    return names
