"""A finished model that gives a class to every pixel predicts a folder of images."""

import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from typer.testing import CliRunner

from fedward_cli.main import app
from fedward_core.arrays import Array
from fedward_core.cards import DataKind, Split
from fedward_core.engine import Job
from fedward_core.metric import Metric
from fedward_core.spec import Spec
from fedward_models.data import generate, open_split
from fedward_models.inference.finished_model import open_finished
from fedward_server.engines.inline import InlineEngine

CLASSES = ("background", "lung", "opacity")


@pytest.fixture(scope="module")
def outlining(tmp_path_factory: pytest.TempPathFactory, hospitals: Path) -> Path:
    """The folder of a run that learned to outline, for two rounds."""
    local = {"optimizer": {"name": "adamw", "lr": 0.02}, "batch_size": 8}
    backbone = {"name": "small_cnn", "widths": [8, 8], "hidden": []}
    stage = {"name": "train", "method": "supervised", "backbone": backbone, "rounds": 2, "local": local}
    dataset = {"name": "simulated", "task": "segmentation", "image_px": 16, "keep_proportions": True}
    spec = Spec.parse({"name": "masks", "dataset": dataset, "evaluate": {"bootstrap": 20}, "stages": [stage]})
    out = tmp_path_factory.mktemp("outlining")
    job = Job(spec=spec, run="masks", sites=("hill", "north", "river"), data=hospitals, out=out)
    InlineEngine().run(job, lambda event: None)
    return out


def predict(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def write_dicom(path: Path, stored: Array, **elements: Any) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    rows, columns = stored.shape
    form = {"SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "Rows": rows, "Columns": columns}
    grey = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelData": stored.tobytes()}
    for key, value in {**form, **grey, **bits, **elements}.items():
        setattr(header, key, value)
    header.save_as(path, enforce_file_format=True)


def rows_in(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_masks_are_those_of_the_model(outlining: Path, hospitals: Path, tmp_path: Path) -> None:
    found = predict(outlining, "--data", hospitals, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    model = open_finished(outlining)
    images = open_split(hospitals, "north", model.spec.dataset, Split.TEST)
    with torch.no_grad():
        said = model.method.predict((images.images.float() / 255 - images.mean) / images.std)
    expected = said.argmax(dim=1).numpy()
    assert len(np.unique(expected)) > 1
    rows = [row for row in rows_in(tmp_path / "out") if row["site"] == "north"]
    masks = [np.asarray(Image.open(tmp_path / "out" / row["mask"])) for row in rows]
    assert np.array_equal(np.stack(masks), expected)
    shares = np.array([[float(row[f"share/{name}"]) for name in CLASSES] for row in rows])
    assert np.allclose(shares, [[(mask == number).mean() for number in range(3)] for mask in expected], atol=1e-6)
    assert (tmp_path / "out" / "outlines.png").stat().st_size > 1000


def test_the_overlap_is_that_of_the_runs_own_last_evaluation(outlining: Path, hospitals: Path, tmp_path: Path) -> None:
    found = predict(outlining, "--data", hospitals, "--out", tmp_path / "out", "--json")
    report = json.loads(found.stdout)
    events = [json.loads(line) for line in (outlining / "events.jsonl").read_text().splitlines()]
    evaluated = [event for event in events if event["kind"] == "evaluated"][-3:]
    for event in evaluated:
        for name, values in event["facts"]["metrics"].items():
            told, here = Metric.model_validate(values), Metric.model_validate(report[event["site"]][name])
            assert here.value == pytest.approx(told.value, abs=1e-6)
            assert here.n == told.n
    rows = [row for row in rows_in(tmp_path / "out") if row["site"] == "hill" and row["dice/lung"]]
    assert np.mean([float(row["dice/lung"]) for row in rows]) == pytest.approx(
        report["hill"]["dice/lung"]["value"], abs=1e-5
    )


def test_a_mask_lies_on_its_image_as_the_file_has_it(outlining: Path, hospitals: Path, tmp_path: Path) -> None:
    """The left half of a film, which in one of two files is mirrored and says so."""
    folder = tmp_path / "data" / "coast"
    folder.mkdir(parents=True)
    with np.load(hospitals / "north.npz") as content:
        film = np.kron(content["images"][0], np.ones((3, 3))).astype(np.uint16)[:, :24]
    write_dicom(folder / "plain.dcm", film)
    write_dicom(folder / "mirrored.dcm", film[:, ::-1], PatientOrientation=["R", "F"])
    for name in ("a", "b"):
        Image.fromarray(film.astype(np.uint8)).save(folder / f"{name}.png")
    table = ["file,split", "plain.dcm,test", "mirrored.dcm,test", "a.png,train", "b.png,train"]
    (folder / "labels.csv").write_text("\n".join(table))
    found = predict(outlining, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    rows = {row["name"]: row for row in rows_in(tmp_path / "out")}
    plain, mirrored = (
        np.asarray(Image.open(tmp_path / "out" / rows[name]["mask"])) for name in ("plain.dcm", "mirrored.dcm")
    )
    assert plain.shape == (48, 24)
    assert len(np.unique(plain)) > 1
    assert np.array_equal(mirrored, plain[:, ::-1])
    assert not (tmp_path / "out" / "report.json").exists()
    assert "dice/lung" not in rows["plain.dcm"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    generate(folder, sites=1, images_per_site=20, image_px=16, kind=DataKind.VOLUME)
    return folder


@pytest.fixture(scope="module")
def outlining_volumes(tmp_path_factory: pytest.TempPathFactory, heads: Path) -> Path:
    arguments = {"channels": [4, 8], "strides": [2], "num_res_units": 1, "norm": "batch"}
    backbone = {"name": "monai_volume", "network": "UNet", "arguments": arguments, "features": 4}
    local = {"optimizer": {"name": "adamw", "lr": 0.02}, "batch_size": 4}
    stage = {"name": "train", "method": "supervised", "backbone": backbone, "rounds": 2, "local": local}
    dataset = {"name": "simulated", "kind": "volume", "task": "segmentation", "image_px": 16, "depth": 16}
    cohort, evaluate = {"min_sites": 1}, {"bootstrap": 20}
    spec = Spec.parse({"name": "m", "cohort": cohort, "dataset": dataset, "evaluate": evaluate, "stages": [stage]})
    out = tmp_path_factory.mktemp("outlining")
    InlineEngine().run(Job(spec=spec, run="m", sites=("north",), data=heads, out=out), lambda event: None)
    return out


def test_a_mask_lies_on_the_scan_that_it_is_of(outlining_volumes: Path, heads: Path, tmp_path: Path) -> None:
    """The same head as an array, and as a scan whose axes point elsewhere: the masks have one volume in the world."""
    (folder := tmp_path / "data" / "coast").mkdir(parents=True)
    with np.load(heads / "north.npz") as content:
        volume, splits = content["volumes"][0], content["split"].copy()
        arrays = dict(content)
    splits[0] = "test"
    np.savez(tmp_path / "data" / "north.npz", **arrays | {"split": splits})
    kind: Any = nibabel.Nifti1Image
    affine = np.diag([-13.75, -13.75, 13.75, 1.0])
    scan = kind(volume.transpose(2, 1, 0), affine).as_reoriented(np.array([[1, 1], [2, -1], [0, 1]]))
    for name in ("a", "b"):
        nibabel.save(scan, folder / f"{name}.nii.gz")
    (folder / "labels.csv").write_text("file,split\na.nii.gz,train\nb.nii.gz,test")
    found = predict(outlining_volumes, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    rows = {(row["site"], row["image"]): row for row in rows_in(tmp_path / "out")}
    load: Any = nibabel.load
    flat, turned = (load(tmp_path / "out" / rows[place]["mask"]) for place in (("north", "0"), ("coast", "1")))
    assert turned.get_data_dtype() == np.uint8
    assert np.array_equal(turned.affine, scan.affine)
    counts = [np.bincount(np.asarray(mask.dataobj).ravel(), minlength=4).tolist() for mask in (flat, turned)]
    assert counts[0][1] > 0
    upright: Any = nibabel.as_closest_canonical
    back, same = upright(turned), upright(kind(np.asarray(flat.dataobj), affine))
    agreement = (np.asarray(back.dataobj) == np.asarray(same.dataobj)).mean()
    assert agreement > 0.97  # levels of the scan go from its own darkest to its brightest half percent
    assert (tmp_path / "out" / "outlines.png").stat().st_size > 1000


def test_a_model_that_outlines_is_not_explained(outlining: Path, hospitals: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["explain", str(outlining), "--data", str(hospitals), "--out", str(tmp_path / "out")]
    )
    assert found.exit_code == 1
    assert "gives a class to every pixel" in " ".join(found.output.split())
