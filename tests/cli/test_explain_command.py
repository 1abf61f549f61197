"""Where a decision came from is shown, and only with maps that the model has."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedward_cli.commands.explain import _show, _write_volume
from fedward_cli.main import app
from fedward_core.cards import Contract, DataKind, Split, Task
from fedward_core.engine import Job
from fedward_core.spec import Dataset, Spec
from fedward_models.data import generate, open_split
from fedward_models.inference.explaining import Explanation, explain_site
from fedward_models.inference.finished_model import open_finished
from fedward_server.engines.inline import InlineEngine

MINIT = {
    "name": "minit", "block_px": 8, "patch_px": 4, "width": 8, "depth": 1, "heads": 2, "scores": 2, "pool": "class",
}  # fmt: skip


def explain(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of one round over volumes, and the data."""
    folder = tmp_path_factory.mktemp("volumes")
    generate(folder / "data", sites=1, images_per_site=20, image_px=16, kind=DataKind.VOLUME, depth=16)
    (site,) = (path.stem for path in (folder / "data").glob("*.npz"))
    local = {"optimizer": {"name": "sgd", "lr": 0.05}, "batch_size": 4}
    stage = {"name": "train", "method": "supervised", "backbone": MINIT, "rounds": 1, "local": local}
    dataset = {"name": "heads", "kind": "volume", "image_px": 16, "depth": 16}
    cohort = {"sites": [site], "min_sites": 1}
    spec = Spec.parse({"name": "heads", "dataset": dataset, "cohort": cohort, "stages": [stage]})
    job = Job(spec=spec, run="heads", sites=(site,), data=folder / "data", out=folder / "run")
    InlineEngine().run(job, lambda event: None)
    return folder / "run", folder / "data"


def test_pictures_are_drawn_of_the_first_images_of_every_site(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    found = explain(trained(), "--data", hospitals, "--out", tmp_path / "out", "--images", 2, "--json")
    rows = json.loads(found.stdout)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert [row["site"] for row in rows] == ["hill", "hill", "north", "north", "river", "river"]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(f"{row['site']}-{row['image']:05d}.png" for row in rows)
    assert max(row["missed"] for row in rows) < 0.1


@pytest.mark.parametrize(
    ("task", "words"), [(Task.CLASSIFICATION, "the model names"), (Task.MULTI_LABEL, "most probable")]
)
def test_a_model_that_may_name_none_is_shown_by_its_most_probable_class(
    task: Task, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contract, heat = Contract(classes=("a",), task=task), np.zeros((4, 4))
    _show(
        [Explanation(site="north", contract=contract, image=0, name="", named="a", pixels=heat, heat=heat)],
        machine=False,
    )
    assert words in capsys.readouterr().out


def test_a_map_of_gradients_is_for_the_class_that_the_model_names(trained: Any, hospitals: Path) -> None:
    model = open_finished(trained())
    (found,) = explain_site(model, hospitals, "north", Split.TEST, kind="gradients", num_images=1)
    images = open_split(hospitals, "north", model.spec.dataset, Split.TEST)
    pixels = images.images[:1].float() / 255
    with torch.no_grad():
        logits = model.method.logits((pixels - images.mean) / images.std)[0]
        black = model.method.logits(torch.full_like(pixels, -images.mean / images.std))[0]
    chosen = int(logits.argmax())
    assert found.named == images.contract.classes[chosen]
    assert found.heat.sum() == pytest.approx(float(logits[chosen] - black[chosen]), rel=0.1)
    assert np.array_equal(found.pixels, pixels[0, 0].numpy())
    with np.load(hospitals / "north.npz") as content:
        assert found.image == np.flatnonzero(content["split"] == "test")[0]


@pytest.mark.parametrize("kind", ["contributions", "attention"])
def test_maps_that_a_model_does_not_have_are_refused(trained: Any, hospitals: Path, tmp_path: Path, kind: str) -> None:
    found = explain(trained(), "--data", hospitals, "--out", tmp_path / "out", "--map", kind)
    assert found.exit_code == 1
    assert "choose the map 'gradients'" in " ".join(found.output.split()).replace("│ ", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["gradients", "contributions", "attention"])
def test_volumes_get_scans_and_maps_of_one_shape(volumes: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    import nibabel  # noqa: PLC0415 - slow to import

    run, data = volumes
    arguments = ("--data", data, "--out", tmp_path / "out", "--map", kind, "--images", 1)
    found = explain(run, *arguments)
    assert found.exit_code == 0, found.output
    load: Any = nibabel.load
    scan, heat = (load(path) for path in sorted((tmp_path / "out").glob("*.nii.gz"), reverse=True))
    assert scan.shape == heat.shape == (16, 16, 16)
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


@pytest.mark.parametrize("resampled", [False, True])
def test_a_map_of_an_array_has_the_voxels_of_the_models_grid(
    volumes: tuple[Path, Path], tmp_path: Path, resampled: bool
) -> None:
    """Arrays of twice the grid's sides: a whole volume is resized, so its voxels are twice as large in the map."""
    import nibabel  # noqa: PLC0415 - slow to import

    run, data = volumes
    (source,) = data.glob("*.npz")
    (tmp_path / "data").mkdir()
    with np.load(source) as content:
        large = {name: content[name].repeat(2, 1).repeat(2, 2).repeat(2, 3) for name in ("volumes", "masks")}
        arrays = {**content, **large}
    np.savez(tmp_path / "data" / source.name, **{**arrays, "spacing_mm": np.array([3.0, 2.0, 1.0])})
    model = open_finished(run)
    dataset = model.spec.dataset.model_copy(update={"spacing_mm": (6.0, 4.0, 2.0)} if resampled else {})
    spacing = dataset.spacing_mm or (3.0, 2.0, 1.0)
    contract = model.plan.contract.model_copy(update={"spacing_mm": spacing})
    model = replace(
        model,
        spec=model.spec.model_copy(update={"dataset": dataset}),
        plan=model.plan.model_copy(update={"contract": contract}),
    )
    found = explain_site(model, tmp_path / "data", source.stem, Split.TEST, kind="attention", num_images=1)
    _write_volume(tmp_path, found[0], tmp_path / "data", dataset)
    load: Any = nibabel.load
    for path in tmp_path.glob("*.nii.gz"):
        np.testing.assert_allclose(load(path).header.get_zooms(), (2.0, 4.0, 6.0))


def test_volumes_of_voxels_of_another_size_are_refused(volumes: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = volumes
    (source,) = data.glob("*.npz")
    (tmp_path / "data").mkdir()
    with np.load(source) as content:
        arrays = {**content, "spacing_mm": content["spacing_mm"] * 2}
    np.savez(tmp_path / "data" / source.name, **arrays)
    found = explain(run, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert "does not fit the model: spacing_mm is" in " ".join(found.output.split()).replace("│ ", "")


def test_a_map_of_a_listed_scan_is_written_in_the_voxels_of_its_file(tmp_path: Path) -> None:
    """A tilted scan of unequal voxels: shape, affine and values of the file; the spot of the map where it was seen."""
    import nibabel  # noqa: PLC0415 - slow to import

    (folder := tmp_path / "data" / "north").mkdir(parents=True)
    affine = np.array([[0.0, -1.8, 0.9, 9], [2.0, 0, 0, 5], [0, 0.9, 3.6, 7], [0, 0, 0, 1]])
    values = np.random.default_rng(0).random((32, 30, 12)).astype(np.float32)
    kind: Any = nibabel.Nifti1Image
    nibabel.save(kind(values, affine), folder / "head.nii.gz")
    (folder / "labels.csv").write_text("file\nhead.nii.gz\n")
    heat = np.zeros((16, 16, 16), np.float32)
    heat[12:, :8, 4:8] = 1  # towards the head, in front, on the right of the middle
    found = Explanation(
        site="north", contract=Contract(classes=("a",)), image=0, name="", named="a", pixels=heat, heat=heat
    )
    dataset = Dataset.model_validate({"name": "heads", "kind": "volume", "image_px": 16, "depth": 16})
    _write_volume(tmp_path, found, tmp_path / "data", dataset)
    load: Any = nibabel.load
    scan, spot = (load(tmp_path / f"north-00000-{what}.nii.gz") for what in ("scan", "map"))
    np.testing.assert_array_equal(scan.get_fdata(dtype=np.float32), values)
    assert spot.shape == values.shape
    np.testing.assert_allclose(spot.affine, affine, atol=1e-6)
    bright = np.argwhere(spot.get_fdata() > 0.5).mean(axis=0)
    # The file's axes run to the front, to the left and to the head.
    np.testing.assert_allclose(bright, [32 * 0.75 - 0.5, 30 * 0.375 - 0.5, 12 * 0.875 - 0.5], atol=0.5)
