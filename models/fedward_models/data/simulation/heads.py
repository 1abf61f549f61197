"""Simulated heads: volumes as of an MR scanner, of patients who never lived.

A head is a skull around a brain with two ventricles. Some have a lesion, a bright ball with a soft rim somewhere in the
brain; some have large ventricles. Places are in units of half the field, from -1 to 1: z to the head, y to the back, x
to the patient's left. Letters: N heads, D slices, H rows, W columns; a trait is (N, 1, 1, 1).
"""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.seeds import derive_seed, generator
from fedward_models.data.labels import counted_classes
from fedward_models.data.simulation.anatomy import inside
from fedward_models.data.simulation.profile import Profile
from fedward_models.data.splitting.splits import deal_splits

CLASSES = ("normal", "lesion", "large ventricles")
MASKS = ("background", "brain", "ventricles", "lesion")
LESION, VENTRICLES = 1, 2
FIELD_MM = 220.0  # of the whole volume along each axis
SKULL = (0.86, 0.88, 0.72)  # half axes in z, y, x
CHUNK = 8  # heads drawn at once, to bound memory
SIDES = np.array([-1, 1], dtype=np.float32)
WAVES = 4  # of which folds are made
NOISE = 2.0  # over the noise that the same hospital's films have


def simulate_heads(profile: Profile, num_volumes: int, depth: int, image_px: int, seed: int) -> dict[str, Array]:
    """The arrays of one simulated hospital: volumes, labels, masks, splits, patients, spacing.

    Args:
        profile: The hospital.
        num_volumes: Volumes, each of a patient of its own.
        depth: Slices.
        image_px: Rows and columns.
        seed: Every draw.
    """
    labels = generator(seed, profile.name, "heads").choice(len(CLASSES), size=num_volumes, p=profile.mix)
    drawn = [
        _draw(labels[start : start + CHUNK], (depth, image_px, image_px), profile, generator(seed, profile.name, start))
        for start in range(0, num_volumes, CHUNK)
    ]
    names = np.array([f"{profile.name}-{number:05d}" for number in range(num_volumes)])
    classes = counted_classes(labels, len(CLASSES))
    return {
        "volumes": np.concatenate([volumes for volumes, _ in drawn]),
        "labels": labels,
        "masks": np.concatenate([masks for _, masks in drawn]),
        "split": deal_splits(names, classes, derive_seed(seed, profile.name, "splits")),
        "patient": names,
        "classes": np.array(CLASSES),
        "masks_classes": np.array(MASKS),
        "spacing_mm": np.array([FIELD_MM / depth, FIELD_MM / image_px, FIELD_MM / image_px]),
    }


def _draw(
    labels: Array, shape: tuple[int, int, int], profile: Profile, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Volumes and masks, (N, D, H, W) uint8."""
    z, y, x = _places(labels, shape, profile, rng)
    brain = inside(0.86 - _radius(z, y, x, SKULL), 0.06)
    tissue = 0.62 * brain * (1 + 0.12 * _folds(z, y, x, rng))
    ventricles = _ventricles(z, y, x, labels, rng)
    amount = tissue * (1 - 0.75 * ventricles) + 0.35 * inside(0.06 - np.abs(_radius(z, y, x, SKULL) - 0.97), 0.04)
    core, rim = _lesions(z, y, x, labels, rng)
    amount = amount + 0.33 * brain * (core + rim)
    within = brain > 0.5
    masks = np.where(within & (core > 0.5), 3, np.where(within & (ventricles > 0.5), 2, within))
    return _scan(amount, profile, rng), masks.astype(np.uint8)


def _places(
    labels: Array, shape: tuple[int, int, int], profile: Profile, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Each voxel's place in its head, so that size and pose do not matter."""
    count = len(labels)
    axes = [((np.arange(length) + 0.5) / length * 2 - 1).astype(np.float32) for length in shape]
    size = profile.size * _trait(rng, count, 1.0, 0.04)
    z, y, x = (axis / size - _trait(rng, count, 0.0, 0.03) for axis in np.meshgrid(*axes, indexing="ij"))
    turn = _trait(rng, count, 0.0, 0.06)  # about the head's own axis
    return z, y * np.cos(turn) - x * np.sin(turn), x * np.cos(turn) + y * np.sin(turn)


def _ventricles(z: Array, y: Array, x: Array, labels: Array, rng: np.random.Generator) -> Array:
    """Two long horns beside the middle, wide apart in patients with large ones."""
    large = (labels == VENTRICLES)[:, None, None, None]
    width = np.where(large, np.float32(1.75), np.float32(1)) * _trait(rng, len(labels), 1.0, 0.1)
    axes = (0.16 * width, 0.34 * np.sqrt(width), 0.085 * width)
    horns = [_radius(z - 0.08, y - 0.02, x - side * 0.12 * np.sqrt(width), axes) for side in (-1, 1)]
    return inside(1 - np.minimum(*horns), 0.25)


def _lesions(z: Array, y: Array, x: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A ball, and the swelling around it."""
    count = len(labels)
    radius, up, back = (
        _between(rng, count, 0.11, 0.2),
        _between(rng, count, -0.3, 0.4),
        _between(rng, count, -0.45, 0.45),
    )
    across = rng.choice(SIDES, (count, 1, 1, 1)) * _between(rng, count, 0.22, 0.42)
    distance = _radius(z - up, y - back, x - across, (1.0, 1.0, 1.0))
    ill = (labels == LESION)[:, None, None, None]
    return ill * inside(radius - distance, 0.06), ill * 0.5 * np.exp(-((distance / (1.7 * radius)) ** 2))


def _folds(z: Array, y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Waves of many directions, as grey and white matter alternate; each head has its own."""
    count, total = len(z), np.zeros_like(z)
    for _ in range(WAVES):
        way = rng.standard_normal((count, 3, 1, 1, 1), dtype=np.float32)
        way = 9 * way / np.linalg.norm(way, axis=1, keepdims=True)
        total += np.cos(way[:, 0] * z + way[:, 1] * y + way[:, 2] * x + _between(rng, count, 0, 2 * np.pi))
    return np.asarray(total / np.float32((WAVES / 2) ** 0.5))


def _scan(amount: Array, profile: Profile, rng: np.random.Generator) -> Array:
    """The image of a scanner whose coil is closer to one side, with noise."""
    low, high = profile.window
    slope = 0.12 * rng.standard_normal((len(amount), 3, 1, 1, 1), dtype=np.float32)
    axes = [np.linspace(-1, 1, length, dtype=np.float32) for length in amount.shape[1:]]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    bias = 1 + slope[:, 0] * z + slope[:, 1] * y + slope[:, 2] * x
    levels = np.clip((amount * bias - low) / (high - low), 0, 1) ** profile.gamma
    noise = np.float32(NOISE * profile.noise) * rng.standard_normal(levels.shape, dtype=np.float32)
    return np.asarray(np.rint(np.clip(levels + noise, 0, 1) * 255), dtype=np.uint8)


def _radius(z: Array, y: Array, x: Array, axes: tuple[float | Array, float | Array, float | Array]) -> Array:
    """1 on an ellipsoid around the middle."""
    return np.asarray(np.sqrt((z / axes[0]) ** 2 + (y / axes[1]) ** 2 + (x / axes[2]) ** 2))


def _trait(rng: np.random.Generator, count: int, mean: float, spread: float) -> Array:
    drawn = np.clip(rng.standard_normal((count, 1, 1, 1), dtype=np.float32), -2.5, 2.5)
    return np.asarray(np.float32(mean) + np.float32(spread) * drawn)


def _between(rng: np.random.Generator, count: int, low: float, high: float) -> Array:
    return np.asarray(np.float32(low) + np.float32(high - low) * rng.random((count, 1, 1, 1), dtype=np.float32))
