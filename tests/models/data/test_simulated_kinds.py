"""Simulated heads, hearts and reports: the same each time, and what they show is what they say."""

from pathlib import Path

import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.cards import DataKind, Split, agreed_contract
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import describe, generate, open_split
from fedward_models.data.simulation import heads, hearts
from fedward_models.data.simulation.hospitals import FINDINGS, simulate, simulate_reports
from fedward_models.data.simulation.profile import PROFILES

NORTH = PROFILES[0]
DATASETS = {
    DataKind.VOLUME: Dataset(name="heads", kind=DataKind.VOLUME, image_px=16, depth=12),
    DataKind.CLIP: Dataset(name="hearts", kind=DataKind.CLIP, image_px=16, frames=8),
    DataKind.REPORT: Dataset(name="films", kind=DataKind.REPORT, image_px=16),
}
DEPTHS = {DataKind.VOLUME: 12, DataKind.CLIP: 8}


def write(out: Path, kind: DataKind, seed: int = 0) -> tuple[Path, ...]:
    return generate(out, sites=2, images_per_site=24, image_px=16, seed=seed, kind=kind, depth=DEPTHS.get(kind))


@pytest.mark.parametrize("kind", DATASETS)
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path, kind: DataKind) -> None:
    first, again, other = (write(tmp_path / name, kind, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for one, two, three in zip(first, again, other, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes() != three.read_bytes()


@pytest.mark.parametrize("kind", DATASETS)
def test_sites_fit_one_study_and_can_be_trained_on(tmp_path: Path, kind: DataKind) -> None:
    write(tmp_path, kind)
    contract = agreed_contract(tuple(describe(tmp_path, site, DATASETS[kind]) for site in ("north", "river")))
    assert contract.kind is kind
    assert len(contract.classes) == 3
    for split in Split:
        assert len(open_split(tmp_path, "north", DATASETS[kind], split))


def test_films_do_not_change_when_they_are_written_about(tmp_path: Path) -> None:
    with np.load(write(tmp_path, DataKind.REPORT)[0]) as file:
        assert (file["images"] == simulate(NORTH, 24, 16, 0)["images"]).all()


def test_a_lesion_is_bright_tissue_that_others_lack() -> None:
    arrays = heads.simulate_heads(NORTH, 60, 24, 24, seed=3)
    brightest = np.array([np.percentile(volume, 99.9) for volume in arrays["volumes"]])
    labels = arrays["labels"]
    assert brightest[labels == heads.LESION].mean() > brightest[labels == 0].mean() + 12


def test_masks_outline_what_the_volumes_show() -> None:
    arrays = heads.simulate_heads(NORTH, 60, 24, 24, seed=3)
    assert arrays["masks"].shape == arrays["volumes"].shape
    assert arrays["masks_classes"].tolist() == ["background", "brain", "ventricles", "lesion"]
    means = [arrays["volumes"][arrays["masks"] == number].mean() for number in range(4)]
    background, brain, ventricles, lesion = means
    assert background < ventricles < brain < lesion
    ill = (arrays["masks"] == 3).any(axis=(1, 2, 3))
    assert np.array_equal(ill, arrays["labels"] == heads.LESION)


def test_large_ventricles_are_dark_in_the_middle() -> None:
    arrays = heads.simulate_heads(NORTH, 60, 24, 24, seed=3)
    dark = (arrays["volumes"][:, 8:18, 7:17, 8:16] < 60).mean(axis=(1, 2, 3))
    labels = arrays["labels"]
    assert dark[labels == heads.VENTRICLES].mean() > 1.5 * dark[labels == 0].mean()


def test_hearts_differ_in_motion_and_not_in_a_frame() -> None:
    arrays = hearts.simulate_hearts(NORTH, 150, 16, 32, seed=2)
    sizes, labels = cavities(arrays["clips"]), arrays["labels"]
    motion = np.ptp(sizes, axis=1)
    normal, weak, fast = (labels == number for number in range(3))
    assert motion[weak].mean() < 0.6 * motion[normal].mean()
    assert abs(motion[fast].mean() / motion[normal].mean() - 1) < 0.15
    beats = np.abs(np.fft.rfft(sizes - sizes.mean(axis=1, keepdims=True), axis=1)).argmax(axis=1)
    assert (beats[normal] == 1).mean() > 0.9
    assert (beats[fast] == 2).mean() > 0.9
    first = sizes[:, 0]
    assert abs(first[weak].mean() - first[normal].mean()) < 0.5 * first[normal].std()


def cavities(clips: Array) -> Array:
    """(N, T), dark pixels around the middle."""
    return np.asarray((clips[:, :, 6:26, 6:26] < 50).sum(axis=(2, 3)), dtype=float)


def test_a_report_tells_the_findings_of_its_film() -> None:
    findings = simulate(NORTH, 200, 16, 5)["findings"].astype(bool)
    texts = simulate_reports(NORTH, 200, 5)
    told = np.array([[told_in(text, finding) for finding in FINDINGS] for text in texts])
    assert (told == findings).all()
    assert len(set(texts.tolist())) > 40


def told_in(text: str, finding: str) -> bool:
    words = {
        "opacity": ("patchy opacity", "consolidation is seen"),
        "effusion": (" pleural effusion", "Slight blunting", "Extensive fluid"),
        "nodule": ("nodule",),
    }[finding]
    return any(word in text.replace("No pleural effusion", "") for word in words)


def test_a_side_is_that_of_the_film() -> None:
    """An effusion makes the lower half of its side brighter than that of other patients."""
    arrays, texts = simulate(NORTH, 400, 32, 1), simulate_reports(NORTH, 400, 1)
    lower = arrays["images"][:, 18:24].astype(float).mean(axis=1)
    tilt = lower[:, 20:29].mean(axis=1) - lower[:, 3:12].mean(axis=1)  # the patient's left minus the right
    left, right = (
        np.array([f"large {side} pleural" in text or f"base of the {side}" in text for text in texts])
        for side in ("left", "right")
    )
    assert tilt[left].mean() > tilt[right].mean() + 10


def test_a_depth_for_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="depth is for volumes and clips, found kind 'image'"):
        generate(tmp_path, depth=8)
