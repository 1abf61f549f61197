"""A finished model predicts a folder of images, and its confidence is looked at."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fedward_cli.commands.predict import _rows
from fedward_cli.main import app
from fedward_core.cards import Contract, Split, Task
from fedward_core.metric import Metric
from fedward_models.data import open_split
from fedward_models.data.labels import encode
from fedward_models.inference.finished_model import open_finished
from fedward_models.inference.predicting import Predictions

VIT = {"name": "vit", "width": 16, "depth": 1, "heads": 2, "patch_px": 8}


def predict(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_every_image_of_the_split_is_predicted_as_the_model_does(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    run, out = trained(), tmp_path / "out"
    assert predict(run, "--data", hospitals, "--out", out).exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o700
    with (out / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["site"] == "north"]
    model = open_finished(run)
    images = open_split(hospitals, "north", model.spec.dataset, Split.TEST)
    with torch.no_grad():
        expected = model.method.predict((images.images.float() / 255 - images.mean) / images.std).numpy()
    classes = images.contract.classes
    found = np.array([[float(row[f"probability/{name}"]) for name in classes] for row in rows])
    assert np.abs(found - expected).max() < 2e-6
    assert images.labels is not None
    assert [row["label"] for row in rows] == [classes[number] for number in images.labels.tolist()]
    assert [row["predicted"] for row in rows] == [classes[number] for number in expected.argmax(axis=1)]
    assert [row["patient"] for row in rows] == list(images.patients)
    with np.load(hospitals / "north.npz") as content:
        assert [int(row["image"]) for row in rows] == np.flatnonzero(content["split"] == "test").tolist()


def test_images_have_the_names_that_their_site_gives_them(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    """An id in a site's file, or a file of its table: without either, nobody would find the image again."""
    data = tmp_path / "data"
    (data / "coast").mkdir(parents=True)
    with np.load(hospitals / "north.npz") as content:
        arrays = dict(content)
    np.savez(data / "north.npz", **arrays | {"id": np.array([f"scan-{row}" for row in range(len(arrays["images"]))])})
    table = ["file,label,split"]
    for row, pixels in enumerate(arrays["images"][:8]):
        Image.fromarray(pixels).save(data / "coast" / f"film {row}.png")
        table.append(
            f"film {row}.png,{arrays['classes'][arrays['labels'][row]]},{'test' if row in (3, 6) else 'train'}"
        )
    (data / "coast" / "labels.csv").write_text("\n".join(table))
    found = predict(trained(), "--data", data, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows if row["site"] == "coast"] == ["film 3.png", "film 6.png"]
    assert all(row["name"] == f"scan-{row['image']}" for row in rows if row["site"] == "north")


def test_the_figures_are_those_of_the_runs_own_last_evaluation(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    run = trained()
    found = predict(run, "--data", hospitals, "--out", tmp_path / "out", "--json")
    report = json.loads(found.stdout)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    for event in (event for event in events if event["kind"] == "evaluated"):
        for name, values in event["facts"]["metrics"].items():
            told, here = Metric.model_validate(values), Metric.model_validate(report[event["site"]][name])
            assert here.value == pytest.approx(told.value, abs=1e-6)
            assert here.n == told.n
        assert report[event["site"]]["calibration_error"]["n"] == report[event["site"]]["loss"]["n"]
    assert (tmp_path / "out" / "reliability.png").stat().st_size > 1000


def test_images_without_labels_are_predicted_and_nothing_is_reported(
    trained: Any, hospitals: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    with np.load(hospitals / "hill.npz") as content:
        np.savez(tmp_path / "data" / "hill.npz", **{name: content[name] for name in content if name != "labels"})
    found = predict(trained(), "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert found.exit_code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.csv"]


def test_several_findings_of_names_with_spaces_can_be_told_apart() -> None:
    classes, truth = ("Lung Opacity", "Pleural Effusion", "Edema"), np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = Predictions(
        site="north",
        contract=Contract(task=Task.MULTI_LABEL, classes=classes),
        images=np.arange(2),
        names=("one.png", "two.png"),
        patients=("a", "b"),
        probabilities=np.array([[0.9, 0.2, 0.8], [0.1, 0.1, 0.1]]),
        labels=truth,
    )
    (_, _, _, _, label, named, *_), (_, _, _, _, nothing, none, *_) = _rows(found)
    assert np.array_equal(encode([str(label), str(nothing)], site="", task=Task.MULTI_LABEL, classes=classes), truth)
    assert (named, none) == ("Lung Opacity|Edema", "")


def test_whoever_predicts_with_a_personalised_model_is_told_whose_it_is_not(
    trained: Any, hospitals: Path, tmp_path: Path
) -> None:
    found = predict(trained(personalise="fedbn", **VIT), "--data", hospitals, "--out", tmp_path / "out")
    assert found.exit_code == 0
    assert "this is not the model of any site" in " ".join(found.stderr.split())
    assert "not the model" not in predict(trained(), "--data", hospitals, "--out", tmp_path / "other").output


def test_a_site_predicts_with_its_own_model_from_what_it_has_kept(
    trained: Any, hospitals: Path, tmp_path: Path
) -> None:
    """The figures are those that the site told of itself after the last round, and another site's are not."""
    run, data = trained(personalise="fedbn", **VIT), alone(hospitals, tmp_path)
    told = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    (event,) = (one for one in told if one["kind"] == "evaluated" and one["site"] == "north")
    expected = event["facts"]["metrics"]["loss"]["value"]

    def loss_with(name: str, *kept: object) -> float:
        found = predict(run, "--data", data, "--out", tmp_path / name, "--json", *kept)
        assert found.exit_code == 0, found.output
        assert ("not the model of any site" in " ".join(found.stderr.split())) == (not kept)
        return float(json.loads(found.stdout)["north"]["loss"]["value"])

    assert loss_with("own", "--kept", run / "sites" / "north" / "train") == pytest.approx(expected, abs=1e-6)
    assert loss_with("other", "--kept", run / "sites" / "river" / "train") != pytest.approx(expected, abs=1e-6)
    assert loss_with("average") != pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("personalise", ["ditto", "local_only", "fedper"])
def test_where_all_that_names_classes_stayed_at_the_sites_there_is_no_model_for_others(
    trained: Any, hospitals: Path, tmp_path: Path, personalise: str
) -> None:
    run, data = trained(personalise=personalise), alone(hospitals, tmp_path)
    refused = predict(run, "--data", data, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    said = " ".join(refused.output.replace("│", " ").split())
    assert f"stayed at the sites ('{personalise}')" in said
    assert "--kept" in said
    own = run / "sites" / "north" / "train"
    assert predict(run, "--data", data, "--out", tmp_path / "out", "--kept", own).exit_code == 0


def test_what_a_site_has_kept_goes_with_its_own_data_and_a_personalised_stage(
    trained: Any, hospitals: Path, tmp_path: Path
) -> None:
    run, data, out = trained(personalise="fedbn", **VIT), alone(hospitals, tmp_path), tmp_path / "out"
    kept = ("--kept", run / "sites" / "north" / "train")
    assert predict(run, "--data", hospitals, "--out", out, *kept).exit_code == 2
    assert predict(run, "--data", data, "--out", out, "--best", *kept).exit_code == 2
    for other, message in ((trained(), "is not personalised"), (run, "holds no private state")):
        place = kept if other != run else ("--kept", run / "sites" / "north")
        refused = predict(other, "--data", data, "--out", out, *place)
        assert refused.exit_code == 1
        assert message in " ".join(refused.output.replace("│", " ").split())
    assert not out.exists()


def alone(hospitals: Path, folder: Path) -> Path:
    """A folder with the data of one site."""
    (data := folder / "data").mkdir()
    shutil.copy(hospitals / "north.npz", data)
    return data


def test_labels_of_other_classes_are_not_compared(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained(), tmp_path / "run"))
    text = (run / "spec.yaml").read_text()
    (run / "spec.yaml").write_text(text.replace("classes: []", "classes: [other, names, here]"))
    found = predict(run, "--data", hospitals, "--out", tmp_path / "out")
    assert found.exit_code == 1
    words = " ".join(found.output.replace("│", " ").split())
    assert "does not fit the model: classes is other, names, here, expected normal, pneumonia, effusion" in words
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_is_not_written_to(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    assert predict(trained(), "--data", hospitals, "--out", tmp_path).exit_code == 1
