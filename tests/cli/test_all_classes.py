"""The classes of a folder whose sites have some of them only."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedward_cli.simulation.hospitals import all_classes
from fedward_core.errors import DataError
from fedward_core.spec import Spec

SPEC = Spec.parse(
    {
        "name": "any",
        "dataset": {"name": "own", "image_px": 8},
        "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
    }
)


def add_numbered(data: Path, site: str, *labels: int) -> None:
    images = np.arange(len(labels) * 64, dtype=np.uint8).reshape(-1, 8, 8)
    np.savez(data / f"{site}.npz", images=images, labels=np.array(labels))


def add_named(data: Path, site: str, *labels: str) -> None:
    folder = data / site
    folder.mkdir()
    for number in range(len(labels)):
        Image.fromarray(np.full((8, 8), 10 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (folder / "labels.csv").write_text(f"file,label\n{rows}")


def test_numbered_classes_are_those_of_the_site_with_the_highest(tmp_path: Path) -> None:
    add_numbered(tmp_path, "hill", 0, 1, 1)
    add_numbered(tmp_path, "north", 2, 2, 0)
    assert all_classes(tmp_path, SPEC) == ("class 0", "class 1", "class 2")


def test_named_classes_are_those_of_any_site_by_their_alphabet(tmp_path: Path) -> None:
    add_named(tmp_path, "hill", "pneumonia", "normal")
    add_named(tmp_path, "north", "covid", "normal")
    assert all_classes(tmp_path, SPEC) == ("covid", "normal", "pneumonia")


def test_names_at_one_site_and_numbers_at_another_are_refused(tmp_path: Path) -> None:
    add_named(tmp_path, "hill", "pneumonia", "normal")
    add_numbered(tmp_path, "north", 0, 1)
    with pytest.raises(DataError, match="some sites name their classes and others number them"):
        all_classes(tmp_path, SPEC)


@pytest.mark.parametrize("sites", [("hill",), ("hill", "north")])
def test_sites_that_agree_keep_their_classes(sites: tuple[str, ...], tmp_path: Path) -> None:
    for site in sites:
        add_numbered(tmp_path, site, 0, 1, 1)
    assert all_classes(tmp_path, SPEC) == ("class 0", "class 1")
