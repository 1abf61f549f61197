"""What disease adds to a chest. Every sign has a strength for each film, (N, 1, 1); 0 leaves the chest as it is."""

import numpy as np

from fedward_core.arrays import Array
from fedward_models.data.simulation.anatomy import Chests, diaphragm, inside
from fedward_models.data.simulation.texture import clouds

OPAQUE = 0.35  # from here on an opacity counts as one in masks


def opacities(chests: Chests, lobe: Array, rng: np.random.Generator) -> Array:
    """Patchy consolidation around a place in a lung, as in pneumonia: (N, H, W) in [0, 1].

    Args:
        chests: The chests.
        lobe: (N, 2), the middle of the consolidation, across and down.
        rng: Draws size and pattern.
    """
    count, px = chests.amount.shape[:2]
    reach = rng.uniform(0.20, 0.34, (count, 1, 1))
    across, down = lobe[:, 0, None, None], lobe[:, 1, None, None]
    nearness = np.exp(-(((chests.x - across) / reach) ** 2) - ((chests.y - down) / (1.25 * reach)) ** 2)
    patches = inside(clouds(rng, count, px, cycles=5) + 0.3, 2.5)
    return nearness * patches * chests.lungs


def effusions(chests: Chests, side: Array, height: Array, breath: Array) -> Array:
    """Fluid at the base of a lung, higher at the side than in the middle: (N, H, W) in [0, 1].

    Args:
        chests: The chests.
        side: (N, 1, 1), -1 for the patient's right lung and 1 for the left one.
        height: (N, 1, 1), how far the fluid rises above the corner of the lung.
        breath: (N, 1, 1), the chest's breath.
    """
    lung = np.where(side < 0, chests.right_lung, chests.left_lung)
    corner = diaphragm(side * 0.62, breath)
    level = corner - height * (0.35 + 1.3 * np.clip(np.abs(chests.x) / 0.75, 0, 1) ** 3)
    return lung * inside(chests.y - level, 0.12)


def nodules(chests: Chests, place: Array, radius: Array) -> Array:
    """One round shadow: (N, H, W) in [0, 1].

    Args:
        chests: The chests.
        place: (N, 2), its middle, across and down.
        radius: (N, 1, 1), in chest units.
    """
    distance = np.hypot(chests.x - place[:, 0, None, None], chests.y - place[:, 1, None, None])
    return inside(radius - distance, 0.05) * chests.lungs
