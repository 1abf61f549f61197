"""Simulated hospitals: chest films, heads and hearts of patients who never lived, one ``.npz`` file for each site.

They are for demonstrations and tests: sites differ in scanner, patients and diseases as real ones do, so that averaging
and personalisation have something to do. They say nothing about medicine.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import DataKind
from fedward_core.errors import DataError
from fedward_core.seeds import derive_seed, generator
from fedward_models.data.labels import counted_classes
from fedward_models.data.reading.npz_file import write_npz
from fedward_models.data.simulation.anatomy import Bodies, Chests, draw_chests
from fedward_models.data.simulation.disease import OPAQUE, effusions, nodules, opacities
from fedward_models.data.simulation.heads import simulate_heads
from fedward_models.data.simulation.hearts import simulate_hearts
from fedward_models.data.simulation.profile import Profile, profiles
from fedward_models.data.simulation.reports import Seen, write_reports
from fedward_models.data.simulation.texture import blur, clouds
from fedward_models.data.splitting.splits import deal_splits

CLASSES = ("normal", "pneumonia", "effusion")
FINDINGS = ("opacity", "effusion", "nodule")
MASKS = ("background", "lung", "opacity")
NORMAL, PNEUMONIA, EFFUSION = range(3)

FILMS_OF_A_PATIENT = (1, 2, 3)
FILM_SHARES = (0.6, 0.3, 0.1)
FIELD_MM = 352.0  # 64 pixels of 5.5 mm: a chest of size 1 fills the film
ALSO_EFFUSION = 0.15  # of the patients with pneumonia
NODULE = 0.15  # of all patients
FRAMES = 16  # of a simulated clip
CHUNK = 64  # films drawn at once, to bound memory


def generate(  # noqa: PLR0913 - each by name
    out: Path,
    *,
    sites: int = 3,
    images_per_site: int = 200,
    image_px: int = 64,
    seed: int = 0,
    kind: DataKind = DataKind.IMAGE,
    depth: int | None = None,
) -> tuple[Path, ...]:
    """Write simulated hospitals; the same arguments always give the same bytes.

    Chest films have ``labels`` (normal, pneumonia, effusion), ``findings`` (opacity, effusion, nodule, for
    multi-label), ``masks`` (background, lung, opacity, for segmentation), patients of one to three films, and splits by
    patient; for kind report, also the text that was written about each. Volumes are heads (normal, lesion, large
    ventricles) with masks (background, brain, ventricles, lesion), clips are hearts (normal, weak, fast).

    Args:
        out: The folder; ``<site>.npz`` is written for north, river, hill, coast and so on.
        sites: How many hospitals. A hospital does not depend on how many others there are.
        images_per_site: Films, volumes or clips of each.
        image_px: Height and width.
        seed: Every draw.
        kind: What one example is.
        depth: Slices of a volume, as many as pixels by default; or frames of a clip, 16 by default.

    Returns:
        The files.

    Raises:
        DataError: Fewer than one site, 20 films or 16 pixels, or a depth for films.
        CheckpointError: A file cannot be written.
    """
    if sites < 1 or images_per_site < 20 or image_px < 16:
        raise DataError(
            f"cannot simulate {sites} sites of {images_per_site} images with {image_px} pixels: expected at least 1 "
            "site, 20 images and 16 pixels"
        )
    if depth is not None and kind not in {DataKind.VOLUME, DataKind.CLIP}:
        raise DataError(f"depth is for volumes and clips, found kind '{kind}': leave it out")
    paths = []
    for profile in profiles(sites):
        paths.append(out / f"{profile.name}.npz")
        write_npz(paths[-1], _simulate_kind(profile, images_per_site, image_px, seed, kind, depth))
    return tuple(paths)


def _simulate_kind(  # noqa: PLR0913, PLR0917 - what generate passes on
    profile: Profile, count: int, image_px: int, seed: int, kind: DataKind, depth: int | None
) -> dict[str, Array]:
    if kind is DataKind.VOLUME:
        return simulate_heads(profile, count, depth or image_px, image_px, seed)
    if kind is DataKind.CLIP:
        return simulate_hearts(profile, count, depth or FRAMES, image_px, seed)
    arrays = simulate(profile, count, image_px, seed)
    if kind is DataKind.REPORT:
        arrays["reports"] = simulate_reports(profile, count, seed)
    return arrays


def simulate_reports(profile: Profile, num_images: int, seed: int) -> Array:
    """(num_images,) texts about the films that :func:`simulate` gives for the same arguments."""
    rng = generator(seed, profile.name, "patients")
    owner = _owners(rng, num_images)
    films = _draw_patients(rng, profile, int(owner[-1]) + 1).of(owner)
    seen = Seen(
        findings=films.findings, strength=films.strength.ravel(), side=films.side.ravel(), height=films.lobe[:, 1]
    )
    return write_reports(seen, generator(seed, profile.name, "reports"))


def simulate(profile: Profile, num_images: int, image_px: int, seed: int) -> dict[str, Array]:
    """The arrays of one simulated hospital's films; see :func:`generate`."""
    rng = generator(seed, profile.name, "patients")
    owner = _owners(rng, num_images)
    patients = _draw_patients(rng, profile, int(owner[-1]) + 1)
    films = [
        _take_films(patients.of(owner[start : start + CHUNK]), profile, image_px, generator(seed, profile.name, start))
        for start in range(0, num_images, CHUNK)
    ]
    labels = patients.label[owner]
    names = np.array([f"{profile.name}-{number:05d}" for number in owner])
    return {
        "images": np.concatenate([images for images, _ in films]),
        "labels": labels,
        "findings": patients.findings[owner].astype(np.int64),
        "masks": np.concatenate([masks for _, masks in films]),
        "split": deal_splits(names, counted_classes(labels, len(CLASSES)), derive_seed(seed, profile.name, "splits")),
        "patient": names,
        "classes": np.array(CLASSES),
        "findings_classes": np.array(FINDINGS),
        "masks_classes": np.array(MASKS),
        "spacing_mm": np.full(2, profile.spacing_mm * 64 / image_px),
    }


@dataclass(frozen=True, kw_only=True)
class _Patients:
    """Patients, or their films: P of them.

    Attributes:
        bodies: Their traits.
        label: (P,) class numbers.
        findings: (P, 3) whether there is an opacity, an effusion, a nodule.
        strength: (P, 1, 1) how marked these are.
        side: (P, 1, 1) the side that is ill, -1 or 1.
        lobe: (P, 2) the middle of an opacity.
        both: (P, 1, 1) 1 where a second lobe is ill too.
        place: (P, 2) the middle of a nodule.
    """

    bodies: Bodies
    label: Array
    findings: Array
    strength: Array
    side: Array
    lobe: Array
    both: Array
    place: Array

    def of(self, owner: Array) -> "_Patients":
        values = {name: value[owner] for name, value in vars(self).items() if name != "bodies"}
        return _Patients(bodies=self.bodies.of(owner), **values)


def _owners(rng: np.random.Generator, num_images: int) -> Array:
    """(num_images,) the patient of each film, counted from 0 and rising."""
    films = rng.choice(FILMS_OF_A_PATIENT, size=num_images, p=FILM_SHARES)
    return np.repeat(np.arange(num_images), films)[:num_images]


def _draw_patients(rng: np.random.Generator, profile: Profile, count: int) -> _Patients:
    label = rng.choice(len(CLASSES), size=count, p=profile.mix)
    effusion = (label == EFFUSION) | ((label == PNEUMONIA) & (rng.random(count) < ALSO_EFFUSION))
    side = rng.choice([-1.0, 1.0], size=count)
    return _Patients(
        bodies=_draw_bodies(rng, profile, count),
        label=label,
        findings=np.stack([label == PNEUMONIA, effusion, rng.random(count) < NODULE], axis=1),
        strength=rng.uniform(0.0, 1.0, (count, 1, 1)),
        side=side[:, None, None],
        lobe=np.stack([side * rng.uniform(0.28, 0.5, count), rng.uniform(-0.45, 0.3, count)], axis=1),
        both=(rng.random((count, 1, 1)) < 0.35).astype(float),
        place=np.stack([-side * rng.uniform(0.25, 0.55, count), rng.uniform(-0.5, 0.25, count)], axis=1),
    )


def _draw_bodies(rng: np.random.Generator, profile: Profile, count: int) -> Bodies:
    def trait(mean: float, spread: float) -> Array:
        return mean + spread * np.clip(rng.standard_normal((count, 1, 1)), -2.5, 2.5)

    field = FIELD_MM / (profile.spacing_mm * 64)
    return Bodies(
        size=trait(profile.size * field, 0.05),
        breadth=trait(1.0, 0.05),
        heart=trait(profile.heart, 0.08),
        bone=trait(profile.bone, 0.12 * profile.bone),
        breath=trait(0.0, 0.04),
        turn=trait(0.0, 0.015),
        across=trait(0.0, 0.05),
        down=trait(0.0, 0.05),
    )


def _take_films(films: _Patients, profile: Profile, px: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Images and masks, (N, px, px) uint8. Two films of a patient differ in breath, pose and noise."""
    count = len(films.label)
    breath = films.bodies.breath + rng.normal(0, 0.02, (count, 1, 1))
    across, down = rng.normal(0, 0.03, (2, count, 1, 1))
    bodies = replace(films.bodies, breath=breath, across=films.bodies.across + across, down=films.bodies.down + down)
    chests = draw_chests(bodies, px)
    opacity = _opacities(chests, films, rng)
    amount = chests.amount + 0.02 * clouds(rng, count, px, cycles=4)
    amount += 0.03 * chests.lungs * clouds(rng, count, px, cycles=10)
    amount += (0.25 + 0.2 * films.strength) * opacity
    amount += 0.42 * _effusions(chests, films, breath)
    amount += 0.14 * films.findings[:, 2, None, None] * nodules(chests, films.place, 0.05 + 0.03 * films.strength)
    masks = np.where(opacity > OPAQUE, 2, chests.lungs > 0.5)
    return _expose(amount, profile, rng), masks.astype(np.uint8)


def _opacities(chests: Chests, films: _Patients, rng: np.random.Generator) -> Array:
    """One ill lobe, or two: the second one on the other side or in the same lung."""
    elsewhere = films.lobe * rng.choice([-1.0, 1.0], (len(films.lobe), 2)) + [0.0, 0.1]
    first = opacities(chests, films.lobe, rng)
    second = films.both * opacities(chests, elsewhere, rng)
    return np.asarray(films.findings[:, 0, None, None] * np.maximum(first, second))


def _effusions(chests: Chests, films: _Patients, breath: Array) -> Array:
    height = 0.12 + 0.35 * films.strength
    return np.asarray(films.findings[:, 1, None, None] * effusions(chests, films.side, height, breath))


def _expose(amount: Array, profile: Profile, rng: np.random.Generator) -> Array:
    """The film of a scanner, uint8."""
    low, high = profile.window
    exposure = rng.normal(1.0, 0.04, (len(amount), 1, 1))
    levels = np.clip((amount * exposure - low) / (high - low), 0, 1) ** profile.gamma
    levels = blur(levels, profile.blur * amount.shape[1])
    grain = rng.normal(0, profile.noise, levels.shape)
    return np.rint(np.clip(levels + grain, 0, 1) * 255).astype(np.uint8)
