"""Simulated hospitals are made for a spec, used again for one like it, and not for another."""

from pathlib import Path
from typing import Any

import pytest

from fedward_cli.simulation.hospitals import RECIPE, simulated
from fedward_core.errors import DataError
from fedward_core.spec import Spec
from fedward_models.data import generate, sites_in


def spec(*, min_sites: int = 2, **dataset: Any) -> Spec:
    return Spec.parse(
        {
            "name": "any",
            "dataset": {"name": "films", "image_px": 16, **dataset},
            "cohort": {"min_sites": min_sites},
            "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
        }
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return simulated(tmp_path / "data", spec(), images=20)


def test_they_are_used_again_for_a_spec_like_it(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    assert simulated(made, spec(classes=["normal", "pneumonia", "effusion"]), images=20) == made
    assert {path: path.stat().st_mtime_ns for path in made.iterdir()} == before
    assert "are used" in capsys.readouterr().err
    assert len(sites_in(made)) == 3


@pytest.mark.parametrize(
    ("other", "found", "wanted"),
    [
        (spec(image_px=32), "image_px 16", "image_px 32"),
        (spec(kind="volume", depth=16), "kind image, depth None", "kind volume, depth 16"),
        (spec(min_sites=4), "sites 3", "sites 4"),
    ],
)
def test_those_of_another_spec_are_refused_and_told_apart(made: Path, other: Spec, found: str, wanted: str) -> None:
    with pytest.raises(DataError, match=f"with {found}; this one asks for {wanted}: remove that folder"):
        simulated(made, other, images=20)


def test_a_folder_without_a_note_is_used_as_it_is(tmp_path: Path) -> None:
    generate(tmp_path / "data", sites=2, images_per_site=20, image_px=32)
    assert simulated(tmp_path / "data", spec()) == tmp_path / "data"


def test_a_note_that_is_damaged_is_told(made: Path) -> None:
    (made / RECIPE).write_text("3")
    with pytest.raises(DataError, match="damaged: remove that folder"):
        simulated(made, spec(), images=20)
