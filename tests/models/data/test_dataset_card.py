"""What a site tells of its data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedward_core.cards import Split
from fedward_core.seeds import derive_seed
from fedward_core.spec import Dataset
from fedward_models.data.card import describe
from fedward_models.data.site_data import forget, read_site
from fedward_models.data.splitting.splits import deal_splits

Writer = Callable[..., Path]


def test_a_card_counts_images_patients_and_classes(write_site: Writer, dataset: Dataset) -> None:
    splits = np.array(["train"] * 12 + ["val"] * 6 + ["test"] * 6)
    card = describe(write_site(split=splits), "north", dataset)
    assert card.num_images == {Split.TRAIN: 12, Split.VALIDATION: 6, Split.TEST: 6}
    assert card.num_patients == {Split.TRAIN: 6, Split.VALIDATION: 3, Split.TEST: 3}
    assert card.class_counts[Split.TRAIN] == (4, 4, 4)
    assert (card.site, card.dataset, card.num_skipped) == ("north", "chest", 0)
    assert card.contract.classes == dataset.classes


def test_no_patient_image_or_path_is_on_a_card(write_site: Writer, dataset: Dataset) -> None:
    data = write_site(id=np.array([f"image-{index}" for index in range(24)]))
    text = describe(data, "north", dataset).model_dump_json()
    for secret in ("patient-", "image-", "north.npz", str(data)):
        assert secret not in text


def test_a_card_without_labels_counts_no_classes(write_site: Writer, dataset: Dataset) -> None:
    assert describe(write_site(labels=None), "north", dataset).class_counts == {}


def test_findings_are_counted_each(write_site: Writer, findings: Dataset) -> None:
    marks = np.tile([[1, 1], [1, 0]], (12, 1))
    card = describe(write_site(labels=marks, split=np.full(24, "train")), "north", findings)
    assert card.class_counts[Split.TRAIN] == (24, 12)


def test_masks_count_the_images_that_show_a_class(write_site: Writer, segments: Dataset) -> None:
    masks = np.zeros((24, 8, 8), dtype=np.uint8)
    masks[:5, 2:4, 2:4] = 1
    card = describe(write_site(masks=masks, split=np.full(24, "train")), "north", segments)
    assert card.class_counts[Split.TRAIN] == (24, 5)


def test_the_digest_follows_the_content_only(write_site: Writer, tmp_path: Path, dataset: Dataset) -> None:
    data = write_site("north")
    write_site("twin")
    write_site("other", labels=np.zeros(24, dtype=np.int64))
    digests = [describe(data, site, dataset).digest for site in ("north", "twin", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_splits_that_are_drawn_stay_the_same_and_differ_from_site_to_site(write_site: Writer, dataset: Dataset) -> None:
    data = write_site("north")
    write_site("coast")
    first = read_site(data, "north", dataset).splits
    forget()
    assert (read_site(data, "north", dataset).splits == first).all()
    assert (read_site(data, "coast", dataset).splits != first).any()


def test_splits_are_drawn_by_dataset_and_site_alone_whatever_the_seed_of_a_run(
    write_site: Writer, dataset: Dataset
) -> None:
    content = read_site(write_site("north"), "north", dataset)
    classes = content.classes_of(np.arange(len(content.images)))
    drawn = deal_splits(content.patients, classes, derive_seed(0, "chest", "north", "splits"))
    assert (content.splits == drawn).all()
