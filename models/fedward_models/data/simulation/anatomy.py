"""Chests as X-rays see them: how much each part of the body holds back, added up along the way.

Places are in units of half the film: x from -1 (the patient's right side, on the left of the film) to 1, y from -1 at
the top to 1. An amount of 1 is what the middle of the body holds back. N films are drawn at once; a trait is (N, 1, 1).
"""

from dataclasses import dataclass, fields

import numpy as np

from fedward_core.arrays import Array

NUM_RIBS = 9


@dataclass(frozen=True, kw_only=True)
class Bodies:
    """What differs from patient to patient, each (N, 1, 1).

    Attributes:
        size: The size of the chest on the film, around 1.
        breadth: Its breadth for its height, around 1.
        heart: The size of the heart, around 1.
        bone: How much bones hold back, around 1; less in the old.
        breath: How deep the patient breathed in, around 0; moves the diaphragm.
        turn: How far the patient is turned, around 0; moves heart and spine sideways.
        across: How far from the middle of the film the patient stands, around 0.
        down: How far below it, around 0.
    """

    size: Array
    breadth: Array
    heart: Array
    bone: Array
    breath: Array
    turn: Array
    across: Array
    down: Array

    def of(self, owner: Array) -> "Bodies":
        """The traits of the patient of each film."""
        return Bodies(**{field.name: getattr(self, field.name)[owner] for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Chests:
    """Drawn chests, each (N, H, W).

    Attributes:
        amount: What all parts together hold back.
        right_lung: 1 inside the patient's right lung, 0 outside, soft at the edge.
        left_lung: The same for the left one.
        x: Places in the chest's own coordinates, so that size and turn do not matter.
        y: The same from top to bottom; the lungs reach from about -0.75 to 0.5.
    """

    amount: Array
    right_lung: Array
    left_lung: Array
    x: Array
    y: Array

    @property
    def lungs(self) -> Array:
        """Both lungs."""
        return np.maximum(self.right_lung, self.left_lung)


def draw_chests(bodies: Bodies, px: int) -> Chests:
    """Draw healthy chests on films of px by px."""
    place = (np.arange(px) + 0.5) / px * 2 - 1
    y, x = np.meshgrid(place, place, indexing="ij")
    y, x = (y - bodies.down) / bodies.size, (x - bodies.across) / (bodies.size * bodies.breadth)
    right, left = (_lung(x, y, side, bodies.breath) for side in (-1, 1))
    torso = _torso(x, y)
    amount = torso * (0.55 + 0.35 * inside(1 - np.abs(x) / 1.2, 0.3)) + 0.16 * inside(y - 0.55, 0.3) * torso
    amount = amount * (1 - 0.62 * np.maximum(right, left))
    amount = np.maximum(amount, 0.82 * _mediastinum(x - bodies.turn, y, bodies.heart) * torso)
    amount = amount + bodies.bone * torso * (_spine(x - 0.5 * bodies.turn, y) + _ribs(x, y) + _clavicles(x, y))
    amount = amount + 0.16 * _hila(x, y) * np.maximum(right, left) - 0.1 * _stomach(x, y, bodies.breath)
    return Chests(amount=amount, right_lung=right, left_lung=left, x=x, y=y)


def inside(distance: Array, softness: float) -> Array:
    """1 where the distance to an edge is positive, 0 where negative, over a soft edge."""
    part = np.clip(distance / (1.5 * softness) + 0.5, 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def diaphragm(x: Array, breath: Array) -> Array:
    """The height of the diaphragm: a dome under each lung, the right one higher because of the liver."""
    dome = 0.22 * ((np.abs(x) - 0.38) / 0.4) ** 2
    return np.asarray(0.42 + 0.05 * (x > 0) + breath + dome)


def _torso(x: Array, y: Array) -> Array:
    neck = 0.24 + 0.9 * inside(y + 0.72 - 0.12 * np.abs(x), 0.25)
    return inside(neck * (1.0 - 0.06 * (y - 0.3) ** 2) - np.abs(x), 0.08)


def _lung(x: Array, y: Array, side: int, breath: Array) -> Array:
    """A half oval, cut off by the diaphragm below and by the mediastinum towards the middle."""
    outward = side * x
    oval = 1 - (np.abs(outward - 0.30) / 0.5) ** 2.4 - (np.abs(y - 0.05) / 0.84) ** 2.4
    inner = outward - 0.13 - 0.10 * np.clip(-y - 0.45, 0, 1)
    return inside(oval * 0.4, 0.06) * inside(diaphragm(x, breath) - y, 0.05) * inside(inner, 0.05)


def _mediastinum(x: Array, y: Array, heart: Array) -> Array:
    """Great vessels, with the arch of the aorta on the left side, and the heart, tilted to the left."""
    vessels = inside(0.13 - np.abs(x), 0.06) * inside(y + 0.75, 0.2)
    arch = inside(0.11 - np.hypot(x - 0.10, (y + 0.28) * 0.9), 0.05)
    along = (x - 0.13) * 0.8 + (y - 0.24) * 0.6
    across = (y - 0.24) * 0.8 - (x - 0.13) * 0.6
    body = inside(heart - np.hypot(along / 0.37, across / 0.27), 0.4)
    return np.asarray(np.maximum(np.maximum(vessels, arch), body))


def _spine(x: Array, y: Array) -> Array:
    discs = 0.8 + 0.2 * np.cos(y * 2 * np.pi * 6.5)
    return 0.10 * inside(0.085 - np.abs(x), 0.05) * discs


def _ribs(x: Array, y: Array) -> Array:
    """Ribs rise from the spine, turn at the side of the chest, and come back fainter and steeper in front."""
    outward = np.abs(x)
    cage = inside(0.83 - np.hypot(outward * 0.95, (y + 0.02) * 0.8), 0.06) * inside(outward - 0.06, 0.05)
    back = np.zeros_like(x)
    front = np.zeros_like(x)
    for number in range(NUM_RIBS):
        start = -0.74 + 0.155 * number
        behind = start - 0.16 * outward + (0.55 + 0.03 * number) * outward**2
        back += inside(0.030 - np.abs(y - behind), 0.030)
        before = start + 0.42 - 0.62 * outward
        front += inside(0.034 - np.abs(y - before), 0.040) * inside(outward - 0.28, 0.1) * (number < 6)
    return cage * (0.11 * np.minimum(back, 1) + 0.05 * np.minimum(front, 1))


def _clavicles(x: Array, y: Array) -> Array:
    outward = np.abs(x)
    line = -0.60 - 0.16 * outward + 0.05 * np.sin(outward * 6)
    return 0.13 * inside(0.032 - np.abs(y - line), 0.03) * inside(outward - 0.10, 0.05) * inside(0.75 - outward, 0.08)


def _hila(x: Array, y: Array) -> Array:
    """Vessels where they enter the lungs, thinning outwards."""
    outward = np.abs(x)
    return np.exp(-(((outward - 0.2) / 0.13) ** 2) - ((y - 0.02) / 0.2) ** 2)


def _stomach(x: Array, y: Array, breath: Array) -> Array:
    """The bubble of air under the left dome."""
    return inside(0.12 - np.hypot((x - 0.36) * 0.8, (y - 0.64 - breath) * 1.2), 0.1)
