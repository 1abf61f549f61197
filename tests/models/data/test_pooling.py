"""All sites as one: nothing is lost, and patients keep apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import open_split, sites_in
from fedward_models.data.reading.npz_file import write_npz
from fedward_models.data.site_data import read_site
from fedward_models.data.splitting.pooling import pool_sites

SITES_AND_POOL = (("sites", "east"), ("sites", "north"), ("pooled", "pooled"))


def write_site(folder: Path, site: str, count: int, **arrays: Any) -> None:
    rng = np.random.default_rng(count)
    everything = {
        "images": rng.integers(0, 256, (count, 8, 8), dtype=np.uint8),
        "labels": np.arange(count) % 2,
        "split": np.resize(["train", "train", "test"], count),
        "patient": np.arange(count),
        "classes": np.array(["healthy", "ill"]),
        **arrays,
    }
    write_npz(folder / f"{site}.npz", {key: array for key, array in everything.items() if array is not None})


def test_a_pooled_site_has_every_image_of_each_split(tmp_path: Path) -> None:
    for site, count in (("east", 6), ("north", 9)):
        write_site(tmp_path / "sites", site, count)
    pool_sites(tmp_path / "sites", tmp_path / "pooled")
    assert sites_in(tmp_path / "pooled") == ("pooled",)
    dataset = Dataset(name="toy", image_px=8)
    for split in ("train", "test"):
        parts = [open_split(tmp_path / "sites", site, dataset, split) for site in ("east", "north")]  # type: ignore[arg-type]
        pooled = open_split(tmp_path / "pooled", "pooled", dataset, split)  # type: ignore[arg-type]
        assert np.array_equal(pooled.images, np.concatenate([part.images for part in parts]))
        assert len(set(pooled.patients)) == sum(len(set(part.patients)) for part in parts)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"split": None}, "has no splits"),
        ({"classes": np.array(["ill", "healthy"])}, "their classes differ"),
        ({"labels": None}, "cannot be pooled: the first has"),
    ],
)
def test_sites_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    write_site(tmp_path, "east", 6)
    write_site(tmp_path, "north", 6, **arrays)
    with pytest.raises(DataError, match=message):
        pool_sites(tmp_path, tmp_path / "pooled")


def test_sites_with_pixels_of_different_size_are_pooled_with_the_size_of_each(tmp_path: Path) -> None:
    write_site(tmp_path, "east", 3, spacing_mm=np.array([1.0, 2.0]))
    write_site(tmp_path, "north", 6, spacing_mm=np.array([3.0, 4.0]))
    with np.load(pool_sites(tmp_path, tmp_path / "pooled")) as pooled:
        assert pooled["spacings_mm"].tolist() == [[1.0, 2.0]] * 3 + [[3.0, 4.0]] * 6


def test_an_image_of_nobody_that_is_named_is_a_patient_of_its_own_in_the_pool_too(tmp_path: Path) -> None:
    write_site(tmp_path / "sites", "east", 6, patient=np.array(["p", "p", "", " ", "", "q"]))
    write_site(tmp_path / "sites", "north", 6)
    pool_sites(tmp_path / "sites", tmp_path / "pooled")
    read = [read_site(tmp_path / folder, site, Dataset(name="toy", image_px=8)) for folder, site in SITES_AND_POOL]
    assert len(set(read[2].patients)) == len(set(read[0].patients)) + len(set(read[1].patients)) == 5 + 6
