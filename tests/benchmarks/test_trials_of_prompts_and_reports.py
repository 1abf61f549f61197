"""Trials of prompts on cells, and of true reports with films of other sites, on made-up data of their form."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.experiments import evp, evp_data, mgca, mgca_data, mgca_scores
from benchmarks.experiments.labelled import Labelled
from safetensors.torch import load_file

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.towers.config import TextTowerConfig

RunTrial = Callable[..., list[dict[str, Any]]]
NOTES = ("both lungs are clear", "pneumonia of the right lower lobe", "patchy opacity on the left in covid 19")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two laboratories with four classes, the first most frequent, and one basophil in training."""
    rng = np.random.default_rng(0)
    for name in evp_data.LABORATORIES:
        labels = np.array([0, 0, 1, 2, 3, 4, 0, 0, 0, 1, 2, 3])
        split = np.array(["train"] * 6 + ["test"] * 6)
        images = rng.integers(256, size=(12, 96, 96, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels, split=split)
    return tmp_path


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """12 films with notes: 6 to train on, 3 to ask about and 3 that are of neither."""
    folder, rng = tmp_path / "notes", np.random.default_rng(0)
    folder.mkdir()
    labels, split = np.arange(12) % 3, np.array(["train"] * 6 + ["test"] * 3 + ["val"] * 3)
    images = rng.integers(256, size=(12, 128, 128), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images, labels=labels, split=split)
    with (folder / "reports.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["index", "text"])
        table.writerows([number, NOTES[number % 3]] for number in range(12))
    return folder


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two sites with 4 films to train on and 5 to ask about, normal or with pneumonia, the first site's much darker."""
    folder, rng = tmp_path / "films", np.random.default_rng(0)
    folder.mkdir()
    for number, site in enumerate(mgca.SITES):
        labels, split = np.arange(9) % 2, np.array(["train"] * 4 + ["test"] * 5)
        images = rng.integers(40, 80, size=(9, 128, 128), dtype=np.uint8) + np.uint8(100 * number)
        np.savez(folder / f"{site}.npz", images=images, labels=labels, split=split)
    return folder


def test_naming_one_class_for_all_images_gains_no_balanced_accuracy() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
    assert evp._scores(torch.zeros(8, dtype=torch.long), labels) == {"accuracy": 0.75, "balanced": 0.3333}
    assert evp._scores(labels, labels) == {"accuracy": 1.0, "balanced": 1.0}


def test_prompts_on_cells_tell_source_and_target_and_are_judged_by_the_most_frequent_class(
    cells: Path, run_trial: RunTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", str(cells), "--target", "cellavision", "--steps", "1", "--tower-steps", "1")
    arms = ("--arms", "source", "zero_full", "evp", "linear")
    found = run_trial(evp, *words, *arms)
    printed = capsys.readouterr().out
    assert all({"accuracy", "balanced", "tower"} <= row.keys() and row["n"] == 6 for row in found)
    assert "n = 6 test images, chance 0.5." in printed
    assert "any one class for all images gets 0.25" in printed
    assert "the prompt: 15360 bytes a round" in printed
    assert f"a linear probe: {4 * 4 * 49} bytes a round" in printed
    assert run_trial(evp, *words, *arms) == found


def test_a_network_of_other_things_lends_cells_some_of_its_classes(
    cells: Path, run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    things = Labelled(pixels=torch.rand(20, 3, 48, 48), labels=torch.arange(20) % 10)
    monkeypatch.setattr(evp, "objects", lambda folder: (things, things))
    words = ("--data", str(cells), "--source", "things", "--steps", "1", "--tower-steps", "1")
    source, zero, prompted = run_trial(evp, *words, "--arms", "source", "zero_shrunk", "evp")
    assert [source["n"], zero["n"], prompted["n"]] == [20, 12, 12]
    assert len({row["tower"] for row in (source, zero, prompted)}) == 1
    assert "n = 12 test images, chance 0.5." in capsys.readouterr().out
    texts = {part: load_file(next(cells.glob(f"weights/*-{part}.safetensors"))) for part in ("source", "target")}
    alike = (texts["target"]["embeddings"][:, None] == texts["source"]["embeddings"]).all(dim=2)
    assert alike.shape == (4, 10)
    assert alike.sum(dim=1).tolist() == [1] * 4
    assert int(alike.sum(dim=0).max()) == 1


def test_a_network_of_cells_needs_a_laboratory_to_adapt_to(cells: Path, run_trial: RunTrial) -> None:
    with pytest.raises(SystemExit):
        run_trial(evp, "--data", str(cells))


def test_true_reports_are_asked_about_the_pairs_and_about_each_site(
    notes: Path, films: Path, run_trial: RunTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", str(notes), "--films", str(films), "--steps", "1", "--batch", "4", "--arms", "images", "masked")
    images, masked = run_trial(mgca, *words)
    printed = capsys.readouterr().out
    probes = {f"{name}probe_{share}" for name in ("", "nih_", "guangzhou_") for share in mgca_scores.SHARES}
    assert probes <= images.keys()
    assert masked.keys() >= probes | {"zero_shot", "nih_zero_shot", "guangzhou_zero_shot", "retrieval_known"}
    assert not any("zero_shot" in name for name in images)
    assert "n = 3 test images, chance 0.333" in printed
    assert "n = 6 test images, chance 0.167" in printed
    assert "| a batch of 4, one thread |" in printed
    assert "n = 5 test images, chance 0.6" in printed


def test_films_of_a_site_are_standardised_by_those_it_trains_on(films: Path) -> None:
    found = [mgca_data.site_films(films, site) for site in mgca.SITES]
    assert [len(part.labels) for part in found[0].values()] == [4, 5]
    for parts in found:
        known = parts["train"].images
        assert known.shape == (4, 1, 64, 64)
        assert float(known.mean()) == pytest.approx(0, abs=1e-4)
        assert float(known.std()) == pytest.approx(1, abs=1e-4)


def test_a_site_is_asked_for_the_classes_that_it_has(monkeypatch: pytest.MonkeyPatch, films: Path) -> None:
    """What looks most like the third class, which the site has none of, is named by the best of its two."""
    method = _method()
    monkeypatch.setattr(method, "predict", lambda images: torch.tensor([0.1, 0.2, 0.7]).expand(len(images), 3))
    parts = mgca_data.site_films(films, "nih")
    question = mgca_scores.Question(name="nih", known=parts["train"], asked=parts["asked"])
    assert mgca_scores.answers(method, question, 0)["nih_zero_shot"] == 0.4


@pytest.mark.parametrize(
    ("note", "left"),
    [
        ("positive for 2019-nCoV and SARS-CoV-2", "positive for  and "),
        ("Pneumocystis jirovecii pneumonia (PCP)", "   ()"),
        ("peribronchovascular, on coronal views, of a coronary patient", None),
        ("PCR 106, after a journey to Wuhan", None),
    ],
)
def test_names_of_the_diagnosis_are_masked_and_nothing_that_looks_like_them(note: str, left: str | None) -> None:
    assert mgca.DIAGNOSES.sub("", note) == (note if left is None else left)


def _method() -> MGCA:
    config = MGCAConfig(text=TextTowerConfig(width=8, depth=1, heads=2), hidden=8, width=4, prototypes=2)
    backbone = ViTConfig(width=8, depth=1, heads=2, patch_px=8).build(image_px=64, channels=1)
    return MGCA(config, backbone=backbone, contract=Contract(classes=("a", "b", "c"))).eval()
