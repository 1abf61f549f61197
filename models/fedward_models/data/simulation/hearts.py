"""Simulated hearts: cine clips as of an ultrasound probe, of patients who never lived.

A short axis of the left ventricle: a bright wall around a dark cavity that narrows and widens. Hearts of all classes
look alike in a single frame; they differ in how far and how fast they move. Letters: N clips, T frames, H rows, W
columns.
"""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.seeds import derive_seed, generator
from fedward_models.data.labels import counted_classes
from fedward_models.data.simulation.anatomy import inside
from fedward_models.data.simulation.profile import Profile
from fedward_models.data.simulation.texture import blur
from fedward_models.data.splitting.splits import deal_splits

CLASSES = ("normal", "weak", "fast")
STROKE = (0.34, 0.10, 0.34)  # how much of its radius the cavity loses, by class
BEATS = (1.0, 1.0, 2.0)  # in a clip, by class
CHUNK = 32  # clips drawn at once, to bound memory
SPECKLE = 12.0  # over the noise that the same hospital's films have


def simulate_hearts(profile: Profile, num_clips: int, frames: int, image_px: int, seed: int) -> dict[str, Array]:
    """The arrays of one simulated hospital: clips, labels, splits, patients.

    Args:
        profile: The hospital.
        num_clips: Clips, each of a patient of its own.
        frames: Frames of a clip.
        image_px: Rows and columns.
        seed: Every draw.
    """
    labels = generator(seed, profile.name, "hearts").choice(len(CLASSES), size=num_clips, p=profile.mix)
    clips = [
        _draw(labels[start : start + CHUNK], frames, image_px, profile, generator(seed, profile.name, start))
        for start in range(0, num_clips, CHUNK)
    ]
    names = np.array([f"{profile.name}-{number:05d}" for number in range(num_clips)])
    classes = counted_classes(labels, len(CLASSES))
    return {
        "clips": np.concatenate(clips),
        "labels": labels,
        "split": deal_splits(names, classes, derive_seed(seed, profile.name, "splits")),
        "patient": names,
        "classes": np.array(CLASSES),
    }


def _draw(labels: Array, frames: int, px: int, profile: Profile, rng: np.random.Generator) -> Array:
    """(N, T, H, W), uint8."""
    count = len(labels)
    narrowed = _narrowed(labels, frames, rng)[:, :, None, None]
    distance = _distance(count, px, profile, rng)[:, None]
    cavity = 0.34 * profile.heart * rng.uniform(0.85, 1.15, (count, 1, 1, 1))
    inner = cavity * (1 - narrowed)
    outer = np.sqrt(inner**2 + (cavity + 0.2) ** 2 - cavity**2)  # the wall keeps its area, so it thickens
    wall = inside(outer - distance, 0.08) * inside(distance - inner, 0.08)
    tissue = 0.25 * inside(distance - outer, 0.1)
    return _probe(0.75 * wall + tissue + 0.06, profile, rng)


def _narrowed(labels: Array, frames: int, rng: np.random.Generator) -> Array:
    """(N, T), the part of its radius that the cavity has lost; a clip starts anywhere in the beat."""
    count = len(labels)
    beats = np.array(BEATS)[labels] * rng.uniform(0.9, 1.1, count)
    stroke = np.array(STROKE)[labels] * rng.uniform(0.85, 1.15, count)
    phase = rng.uniform(0, 1, count)
    turns = beats[:, None] * np.arange(frames) / frames + phase[:, None]
    # Centred, so that the mean size of the cavity tells nothing of the class.
    return np.asarray(stroke[:, None] * -np.cos(2 * np.pi * turns) / 2)


def _distance(count: int, px: int, profile: Profile, rng: np.random.Generator) -> Array:
    """(N, H, W), from the middle of a heart that lies a little aside, and is a little oval."""
    place = (np.arange(px) + 0.5) / px * 2 - 1
    y, x = np.meshgrid(place, place, indexing="ij")
    down, across = rng.normal(0, 0.08, (2, count, 1, 1))
    oval = rng.uniform(0.88, 1.12, (count, 1, 1))
    return np.asarray(np.hypot((y - down) * oval, (x - across) / oval) / profile.size)


def _probe(amount: Array, profile: Profile, rng: np.random.Generator) -> Array:
    """A sector with speckle that moves from frame to frame."""
    count, frames, px = amount.shape[:3]
    grain = rng.normal(0, 1, (count * frames, px, px))
    grain = blur(grain, 0.02 * px)
    speckle = 1 + SPECKLE * profile.noise * (grain / grain.std()).reshape(amount.shape)
    levels = blur((amount * speckle).reshape(-1, px, px), 2 * profile.blur * px).reshape(amount.shape)
    sector = _sector(px)
    return np.rint(np.clip(levels, 0, 1) ** profile.gamma * sector * 255).astype(np.uint8)


def _sector(px: int) -> Array:
    """The field of a probe at the top: a fan of 90 degrees."""
    place = (np.arange(px) + 0.5) / px
    y, x = np.meshgrid(place + 0.12, place - 0.5, indexing="ij")
    return inside(y - np.abs(x), 0.02) * inside(1.1 - np.hypot(y, x), 0.02)
