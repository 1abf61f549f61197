"""Splits in torch, and subsets of their labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fedward_core.cards import Split
from fedward_core.errors import DataError
from fedward_core.spec import Dataset, Standardisation
from fedward_models.data.image_set import label_subset, open_split

Writer = Callable[..., Path]


def test_splits_share_no_image_and_hold_all(write_site: Writer, dataset: Dataset) -> None:
    data = write_site(patient=None)
    parts = [open_split(data, "north", dataset, split) for split in Split]
    assert sum(map(len, parts)) == 24
    pixels = torch.cat([part.images for part in parts])
    assert len({image.numpy().tobytes() for image in pixels}) == 24


def test_statistics_are_those_of_the_training_images(write_site: Writer, dataset: Dataset) -> None:
    splits = np.array(["train"] * 18 + ["test"] * 6)
    data = write_site(split=splits)
    test = open_split(data, "north", dataset, Split.TEST)
    train = open_split(data, "north", dataset, Split.TRAIN).images.double() / 255
    assert test.mean == pytest.approx(train.mean().item())
    assert test.std == pytest.approx(train.std(correction=0).item())


def test_a_scale_that_the_spec_fixes_is_the_same_at_every_site(write_site: Writer, dataset: Dataset) -> None:
    fixed = dataset.model_copy(update={"standardisation": Standardisation(mean=0.5007, std=0.0342)})
    images = open_split(write_site(), "north", fixed, Split.TRAIN)
    assert (images.mean, images.std) == (0.5007, 0.0342)


def test_a_scale_does_not_make_images_without_contrast_usable(write_site: Writer, dataset: Dataset) -> None:
    fixed = dataset.model_copy(update={"standardisation": Standardisation(mean=0.5, std=0.25)})
    with pytest.raises(DataError, match="with contrast"):
        open_split(write_site(images=np.full((24, 8, 8), 9, np.uint8)), "north", fixed, Split.TRAIN)


def test_an_empty_split_is_refused(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="site 'north' has no image in the split 'val' of dataset 'chest'"):
        open_split(write_site(split=np.full(24, "train")), "north", dataset, Split.VALIDATION)


@pytest.mark.parametrize("changes", [{"split": np.full(24, "test")}, {"images": np.full((24, 8, 8), 9, np.uint8)}])
def test_a_site_without_contrast_to_train_on_is_refused(write_site: Writer, dataset: Dataset, changes: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match="expected training images with contrast to standardise by"):
        open_split(write_site(**changes), "north", dataset, Split.TEST)


def test_images_of_fractions_that_were_cut_to_whole_numbers_are_refused(write_site: Writer, dataset: Dataset) -> None:
    """SSL-FL, Sec. 8, B8: resizing gave 0 to 1, which became an almost black image."""
    fractions = np.random.default_rng(0).random((24, 8, 8)) * 1.5
    with pytest.raises(DataError, match="black but for single levels"):
        open_split(write_site(images=fractions.astype(np.uint8)), "north", dataset, Split.TRAIN)


def test_a_subset_takes_images_labels_and_patients_together(write_site: Writer, dataset: Dataset) -> None:
    whole = open_split(write_site(split=np.full(24, "train")), "north", dataset, Split.TRAIN)
    part = whole.subset(torch.tensor([5, 2]))
    assert whole.labels is not None
    assert part.labels is not None
    assert part.images.equal(whole.images[[5, 2]])
    assert part.labels.tolist() == [whole.labels[5], whole.labels[2]]
    assert part.patients == ("patient-2", "patient-1")
    assert (part.mean, part.contract) == (whole.mean, whole.contract)


def test_few_labels_keep_a_patient_of_each_class(write_site: Writer, dataset: Dataset) -> None:
    whole = open_split(write_site(split=np.full(24, "train"), patient=None), "north", dataset, Split.TRAIN)
    few = label_subset(whole, 0.05, seed=0)
    assert few.labels is not None
    assert sorted(few.labels.tolist()) == [0, 1, 2]


def test_few_labels_of_unlabelled_images_are_some_patients(write_site: Writer, dataset: Dataset) -> None:
    whole = open_split(write_site(split=np.full(24, "train"), labels=None), "north", dataset, Split.TRAIN)
    assert len(set(label_subset(whole, 0.5, seed=0).patients)) == 6


def test_few_masks_keep_every_class_that_is_shown(write_site: Writer, segments: Dataset) -> None:
    masks = np.zeros((24, 8, 8), dtype=np.uint8)
    masks[7, 3, 3] = 1
    whole = open_split(write_site(split=np.full(24, "train"), masks=masks), "north", segments, Split.TRAIN)
    few = label_subset(whole, 0.1, seed=0)
    assert few.labels is not None
    assert few.labels.max() == 1
