"""Chest films of patients who never lived."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.cards import Split, Task, agreed_contract
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.card import describe
from fedward_models.data.simulation.hospitals import CLASSES, FINDINGS, MASKS, generate, simulate
from fedward_models.data.simulation.profile import PROFILES, profiles
from fedward_models.data.simulation.texture import blur, clouds
from fedward_models.data.site_data import read_site


@pytest.fixture(scope="module")
def north() -> dict[str, Array]:
    return simulate(PROFILES[0], 150, 32, seed=3)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    once = generate(tmp_path / "once", sites=2, images_per_site=20, image_px=16, seed=1)
    again = generate(tmp_path / "again", sites=2, images_per_site=20, image_px=16, seed=1)
    other = generate(tmp_path / "other", sites=2, images_per_site=20, image_px=16, seed=2)
    assert [path.name for path in once] == ["north.npz", "river.npz"]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert once[0].read_bytes() != other[0].read_bytes()


def test_a_hospital_does_not_depend_on_how_many_others_there_are(tmp_path: Path) -> None:
    few = generate(tmp_path / "few", sites=1, images_per_site=20, image_px=16, seed=1)
    more = generate(tmp_path / "more", sites=2, images_per_site=20, image_px=16, seed=1)
    assert few[0].read_bytes() == more[0].read_bytes()


@pytest.mark.parametrize(
    ("task", "classes"), [(Task.CLASSIFICATION, CLASSES), (Task.MULTI_LABEL, FINDINGS), (Task.SEGMENTATION, MASKS)]
)
def test_sites_fit_one_study_of_each_task(tmp_path: Path, task: Task, classes: tuple[str, ...]) -> None:
    generate(tmp_path, sites=3, images_per_site=40, image_px=16, seed=1)
    dataset = Dataset(name="simulated", image_px=16, task=task)
    cards = tuple(describe(tmp_path, site, dataset) for site in ("hill", "north", "river"))
    assert agreed_contract(cards).classes == classes
    assert all(sum(card.num_images.values()) == 40 for card in cards)


def test_every_split_has_patients_of_its_own(tmp_path: Path) -> None:
    generate(tmp_path, sites=1, images_per_site=60, image_px=16, seed=1)
    content = read_site(tmp_path, "north", Dataset(name="simulated", image_px=16))
    assert all(len(content.indices(split)) for split in Split)


def test_patients_have_one_to_three_films_of_one_label(north: dict[str, Array]) -> None:
    names, films = np.unique(north["patient"], return_counts=True)
    assert set(films) == {1, 2, 3}
    assert all(len(set(north["labels"][north["patient"] == name])) == 1 for name in names)


def test_labels_findings_and_masks_tell_one_story(north: dict[str, Array]) -> None:
    labels, findings, masks = north["labels"], north["findings"], north["masks"]
    assert ((labels == 1) == (findings[:, 0] == 1)).all()
    assert (findings[labels == 2, 1] == 1).all()
    assert not findings[labels == 0, :2].any()
    shows_opacity = (masks == 2).any(axis=(1, 2))
    assert not shows_opacity[labels != 1].any()
    assert shows_opacity[labels == 1].mean() > 0.9


def test_lungs_are_darker_than_what_lies_below(north: dict[str, Array]) -> None:
    images, masks = north["images"].astype(float), north["masks"]
    assert images[masks == 1].mean() + 40 < images[:, -4:, 8:24].mean()


def test_opacities_are_brighter_than_the_same_lungs(north: dict[str, Array]) -> None:
    brighter = [
        image[mask == 2].mean() > image[mask == 1].mean()
        for image, mask in zip(north["images"], north["masks"], strict=True)
        if (mask == 2).sum() > 5
    ]
    assert np.mean(brighter) > 0.9


def test_hospitals_differ_more_between_than_by_chance() -> None:
    means = [simulate(profile, 20, 16, seed=3)["images"].mean() for profile in profiles(4)]
    again = [simulate(profile, 20, 16, seed=4)["images"].mean() for profile in profiles(4)]
    assert np.std(means) > 3 * np.mean(np.abs(np.subtract(means, again)))


def test_a_ninth_hospital_has_a_name_and_patients_of_its_own() -> None:
    chosen = profiles(9)
    assert len({profile.name for profile in chosen}) == 9
    assert chosen[8].name == "north-2"
    first, ninth = (simulate(profile, 20, 16, seed=0)["images"] for profile in (chosen[0], chosen[8]))
    assert (first != ninth).any()


def test_class_mixes_are_shares() -> None:
    assert all(sum(profile.mix) == pytest.approx(1) for profile in PROFILES)


@pytest.mark.parametrize("wrong", [{"sites": 0}, {"images_per_site": 19}, {"image_px": 15}])
def test_too_small_a_wish_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="expected at least 1 site, 20 images and 16 pixels"):
        generate(tmp_path, **wrong)


def test_blur_keeps_the_mean_and_matches_a_slow_gaussian() -> None:
    image = np.random.default_rng(0).random((1, 15, 15))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 1.2) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(image[0], 6, mode="reflect")
    rows = np.array([np.convolve(row, kernel, mode="valid") for row in padded])
    slow = np.array([np.convolve(column, kernel, mode="valid") for column in rows.T]).T
    np.testing.assert_allclose(blur(image, 1.2)[0], slow, atol=1e-3)


def test_clouds_are_standard_and_do_not_wrap_around() -> None:
    pattern = clouds(np.random.default_rng(0), 50, 32, cycles=3)
    np.testing.assert_allclose(pattern.mean(axis=(1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(pattern.std(axis=(1, 2)), 1)
    neighbours = np.mean(pattern[:, :, 0] * pattern[:, :, 1])
    edges = np.mean(pattern[:, :, 0] * pattern[:, :, -1])
    assert neighbours > 0.8
    assert abs(edges) < 0.3
