"""Simulated hospitals: chest films of patients who never lived, one ``.npz`` file for each site."""

from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.seeds import generator
from fedward_models.data.npz_file import write_npz

NAMES = ("north", "river", "hill", "coast")
CLASSES = ("normal", "pneumonia", "effusion")


def generate(
    out: Path, *, sites: int = 3, images_per_site: int = 200, image_px: int = 64, seed: int = 0
) -> tuple[Path, ...]:
    """Write simulated hospitals."""
    paths = []
    for number in range(sites):
        name = NAMES[number]
        rng = generator(seed, name)
        labels = rng.integers(0, 3, images_per_site)
        images = rng.normal(100 + 10 * labels[:, None, None], 30, (images_per_site, image_px, image_px))
        arrays: dict[str, Array] = {
            "images": images.clip(0, 255).astype(np.uint8),
            "labels": labels,
            "classes": np.array(CLASSES),
            "patient": np.array([f"{name}-{index // 2}" for index in range(images_per_site)]),
        }
        paths.append(out / f"{name}.npz")
        write_npz(paths[-1], arrays)
    return tuple(paths)
