"""Weights of a real size, for benchmarks that move weights and train nothing."""

import numpy as np

from fedward_core.arrays import Array

WIDTH, DEPTH = 768, 12
# The linear layers of a ViT-B (Dosovitskiy et al., ICLR 2021, table 1): 85 million numbers, 340 MB.
SHAPES = {
    f"blocks.{block}.{name}": shape
    for block in range(DEPTH)
    for name, shape in {
        "qkv": (3 * WIDTH, WIDTH),
        "projection": (WIDTH, WIDTH),
        "hidden": (4 * WIDTH, WIDTH),
        "output": (WIDTH, 4 * WIDTH),
    }.items()
}
NUM_BYTES = 4 * sum(rows * columns for rows, columns in SHAPES.values())


def weights(value: float) -> dict[str, Array]:
    """Every weight of the model, all of one value; every page of it is in memory."""
    return {name: np.full(shape, value, np.float32) for name, shape in SHAPES.items()}
