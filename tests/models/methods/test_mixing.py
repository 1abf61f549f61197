"""Mixup and CutMix: weights add up, and labels tell what the images hold."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_models.methods.supervised.mixing import Mixing, mix, paste_box


def constant_images(batch: int, height: int = 8, width: int = 6) -> torch.Tensor:
    """Image i holds the number i everywhere, so that the mean tells the mixture."""
    return torch.arange(batch, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 2, height, width).clone()


@given(seed=st.integers(0, 10_000), batch=st.integers(1, 5), kind=st.sampled_from(["mixup", "cutmix", "both"]))
def test_targets_tell_what_the_images_hold(seed: int, batch: int, kind: str) -> None:
    images, targets = constant_images(batch), torch.eye(batch)
    mixing = Mixing(mixup=0.8 if kind != "cutmix" else 0.0, cutmix=1.0 if kind != "mixup" else 0.0)
    mixed, labels = mix(images, targets, torch.Generator().manual_seed(seed), mixing)
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), labels @ torch.arange(batch, dtype=torch.float32))
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(batch))
    assert bool((labels >= 0).all())


def test_partners_are_those_from_the_other_end() -> None:
    _, labels = mix(constant_images(4), torch.eye(4), torch.Generator().manual_seed(0), Mixing(mixup=1.0))
    assert [row.nonzero().flatten().tolist() for row in labels] == [[0, 3], [1, 2], [1, 2], [0, 3]]


def test_both_kinds_come_about_equally_often() -> None:
    """CutMix keeps every pixel whole, Mixup blends all of them; a box without area counts with CutMix."""
    images, targets = constant_images(2, 32, 32), torch.eye(2)
    whole = 0
    for seed in range(400):
        mixed, _ = mix(images, targets, torch.Generator().manual_seed(seed), Mixing(mixup=0.8, cutmix=1.0))
        whole += bool(torch.isin(mixed, torch.tensor([0.0, 1.0])).all())
    assert 150 < whole < 250


def own_parts(mixing: Mixing) -> list[float]:
    """What is left of the first image in each of some batches."""
    images, targets = constant_images(2, 32, 32), torch.eye(2)
    return [float(mix(images, targets, torch.Generator().manual_seed(seed), mixing)[1][0, 0]) for seed in range(30)]


def test_a_large_concentration_mixes_by_halves_and_a_small_one_hardly() -> None:
    """Beta(a, a) gathers in the middle or at both ends; half of an image is a box of 22 x 22 of 32 x 32 pixels."""
    assert all(0.45 < own < 0.55 for own in own_parts(Mixing(mixup=10_000)))
    assert sum(min(own, 1 - own) < 0.05 for own in own_parts(Mixing(mixup=0.01))) > 25
    assert all(1 - 22 * 22 / 1024 <= own < 0.9 for own in own_parts(Mixing(cutmix=10_000)))
    hardly = own_parts(Mixing(cutmix=0.01))
    assert sum(own == 1 for own in hardly) > 5
    assert min(hardly) < 0.5


@pytest.mark.parametrize(
    ("weight", "centre", "rows", "columns"),
    [
        (0.75, (0.5, 0.5), (2, 6), (2, 4)),  # half of 8 and of 6 pixels, around the middle; odd halves are rounded down
        (0.75, (0.0, 0.99), (0, 2), (4, 6)),  # cut at two borders
        (1.0, (0.5, 0.5), (4, 4), (3, 3)),  # no box
        (0.0, (0.5, 0.5), (0, 8), (0, 6)),  # all of the partner
    ],
)
def test_a_box_is_cut_at_the_border_and_weighed_as_pasted(
    weight: float, centre: tuple[float, float], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    mixed, own = paste_box(constant_images(2), weight=weight, centre=centre)
    expected = constant_images(2)
    expected[:, :, slice(*rows), slice(*columns)] = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    assert torch.equal(mixed, expected)
    assert own == 1 - (rows[1] - rows[0]) * (columns[1] - columns[0]) / 48


def constant_volumes() -> torch.Tensor:
    return torch.arange(2.0).reshape(2, 1, 1, 1, 1).expand(2, 1, 8, 6, 4).clone()


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_weight_of_a_mixed_volume_is_the_part_of_voxels_that_stayed(seed: int, columns: bool) -> None:
    volumes = constant_volumes()
    before = volumes.clone()
    mixing = Mixing(cutmix=0.98, columns=columns)
    mixed, labels = mix(volumes, torch.eye(2), torch.Generator().manual_seed(seed), mixing)
    assert torch.equal(volumes, before)
    torch.testing.assert_close((mixed == before).float().mean(dim=(1, 2, 3, 4)), labels.diagonal())


def test_a_cuboid_is_bounded_along_every_axis_and_a_column_reaches_through_the_last() -> None:
    cuboid, _ = paste_box(constant_volumes(), weight=0.87, centre=(0.5, 0.5, 0.5))
    column, _ = paste_box(constant_volumes(), weight=0.75, centre=(0.5, 0.5))
    expected = torch.zeros(8, 6, 4)
    expected[2:6, 2:4, 1:3] = 1
    assert torch.equal(cuboid[0, 0], expected)
    expected[2:6, 2:4] = 1
    assert torch.equal(column[0, 0], expected)


def test_the_parts_of_mixed_batches_are_as_asked() -> None:
    mixing = Mixing(mixup=0.98, cutmix=0.98, parts=(0.149, 0.36))
    left = mixup = 0
    for seed in range(400):
        volumes = constant_volumes()
        mixed, _ = mix(volumes, torch.eye(2), torch.Generator().manual_seed(seed), mixing)
        left += bool(torch.equal(mixed, volumes))
        mixup += not bool(torch.isin(mixed, torch.tensor([0.0, 1.0])).all())
    assert 0.09 < mixup / 400 < 0.21
    assert 0.43 < left / 400 < 0.63  # with boxes that have no voxel
