"""Batches of an image set."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_models.data.batches import loader as loader_module
from fedward_models.data.batches.ahead import ahead
from fedward_models.data.batches.loader import Loader
from fedward_models.data.image_set import ImageSet


def numbered(count: int) -> ImageSet:
    """Images whose label is their place, and whose pixels too."""
    places = torch.arange(count)
    return ImageSet(
        stored=places.to(torch.uint8)[:, None, None, None].expand(count, 1, 4, 4).contiguous(),
        rows=places,
        labels=places,
        patients=tuple(map(str, range(count))),
        mean=0.25,
        std=0.5,
        contract=Contract(classes=("any",)),
    )


def labels_of(loader: Loader, seed: int) -> list[list[int]]:
    return [batch.labels.tolist() for batch in loader.epoch(seed) if batch.labels is not None]


@given(count=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 1000))
def test_an_epoch_visits_every_image_at_most_once(count: int, batch_size: int, seed: int) -> None:
    loader = Loader(numbered(count), batch_size=batch_size, augment=False)
    batches = labels_of(loader, seed)
    visited = [label for batch in batches for label in batch]
    assert len(batches) == loader.num_steps == max(count // batch_size, 1)
    assert len(set(visited)) == len(visited)
    assert {len(batch) for batch in batches} == {min(batch_size, count)}


@given(count=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_in_order_visits_every_image_once_as_it_lies(count: int, batch_size: int) -> None:
    loader = Loader(numbered(count), batch_size=3, augment=True)
    batches = list(loader.in_order(batch_size))
    assert torch.cat([batch.labels for batch in batches if batch.labels is not None]).tolist() == list(range(count))


@pytest.mark.parametrize("augment", [False, True])
def test_the_same_seed_gives_the_same_batches(augment: bool) -> None:
    first, second = (Loader(numbered(20), batch_size=6, augment=augment) for _ in range(2))
    list(first.epoch(99))  # what ran before changes nothing
    for one, other in zip(first.epoch(7), second.epoch(7), strict=True):
        assert one.images.equal(other.images)
        assert one.seed == other.seed


def test_another_seed_gives_another_order_and_other_batch_seeds() -> None:
    loader = Loader(numbered(40), batch_size=8, augment=False)
    assert labels_of(loader, 1) != labels_of(loader, 2)
    assert len({batch.seed for seed in (1, 2) for batch in loader.epoch(seed)}) == 10


def test_a_small_site_makes_one_batch_of_all() -> None:
    loader = Loader(numbered(5), batch_size=32, augment=False)
    assert (loader.num_examples, loader.num_steps) == (5, 1)
    assert sorted(labels_of(loader, 0)[0]) == [0, 1, 2, 3, 4]


def test_images_are_standardised_as_the_set_says() -> None:
    (batch,) = Loader(numbered(9), batch_size=9, augment=False).in_order(9)
    expected: Tensor = (numbered(9).images / 255 - 0.25) / 0.5
    torch.testing.assert_close(batch.images, expected)


def test_a_set_without_labels_gives_batches_without() -> None:
    images = numbered(6)
    unlabelled = ImageSet(**{**vars(images), "labels": None})
    assert all(batch.labels is None for batch in Loader(unlabelled, batch_size=2, augment=True).epoch(0))


@pytest.mark.parametrize("augment", [False, True])
def test_batches_that_are_prepared_ahead_are_the_same(augment: bool) -> None:
    usual, early = (Loader(numbered(20), batch_size=6, augment=augment, prepare_ahead=ahead) for ahead in (False, True))
    for one, other in zip([*usual.epoch(7), *usual.in_order(3)], [*early.epoch(7), *early.in_order(3)], strict=True):
        assert one.images.equal(other.images)
        assert one.seed == other.seed


def test_the_next_item_is_begun_while_the_last_one_is_used() -> None:
    begun = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(4):
            begun.release()
            yield number

    for number in ahead(items()):
        assert begun.acquire(timeout=60)
        if number < 3:
            assert begun.acquire(timeout=60)  # the one after is under way before this one is given back
            begun.release()


def test_an_error_comes_where_the_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(taken)


def test_leaving_early_leaves_no_thread() -> None:
    before = threading.active_count()
    taken = ahead(iter(range(100)))
    assert next(taken) == 0
    taken.close()  # type: ignore[attr-defined]  # a generator has it
    assert threading.active_count() == before


def test_large_examples_are_evaluated_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "LARGEST_BATCH", 3 * 16)
    batches = list(Loader(numbered(8), batch_size=2, augment=False).in_order(128))
    assert [len(batch) for batch in batches] == [3, 3, 2]


def test_loading_leaves_the_set_as_it_was() -> None:
    images = numbered(20)
    before = images.images.clone()
    list(Loader(images, batch_size=4, augment=True).epoch(0))
    assert images.images.equal(before)


@pytest.mark.parametrize("augment", [False, True])
def test_a_batch_tells_how_to_get_its_pixels_back(augment: bool) -> None:
    batch = next(Loader(numbered(20), batch_size=6, augment=augment).epoch(3))
    pixels = batch.images * batch.std + batch.mean
    assert (batch.mean, batch.std) == (0.25, 0.5)
    assert float(pixels.min()) >= -1e-6
    if not augment:
        torch.testing.assert_close(pixels[:, 0, 0, 0] * 255, torch.as_tensor(batch.labels, dtype=torch.float32))


def test_balanced_epochs_show_every_class_equally_often() -> None:
    labels = torch.tensor([0] * 40 + [2] * 10)
    images = replace(numbered(50), labels=labels)
    loader = Loader(images, batch_size=10, augment=False, balanced=True)
    seen = [label for seed in range(40) for batch in labels_of(loader, seed) for label in batch]
    assert len(seen) == 40 * 50
    assert seen.count(2) / len(seen) == pytest.approx(0.5, abs=0.05)
    assert labels_of(loader, 3) == labels_of(loader, 3) != labels_of(loader, 4)


@pytest.mark.parametrize("labels", [None, torch.zeros(5, 3)])
def test_images_without_one_class_cannot_be_balanced(labels: Tensor | None) -> None:
    with pytest.raises(SpecError, match="one class an image"):
        Loader(replace(numbered(5), labels=labels), batch_size=2, augment=False, balanced=True)
