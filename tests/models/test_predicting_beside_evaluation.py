"""A finished model predicts, and explains, what it was evaluated by, also one that standardises pixels itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core.cards import DataKind, Split, Task
from fedward_core.errors import DataError, DivergedError, SpecError
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_models.building import build_method, manifest_of, seeded
from fedward_models.data import Loader, generate, open_split, sites_in
from fedward_models.export.facts import RunFacts
from fedward_models.export.model_card import write_card
from fedward_models.export.network import traced
from fedward_models.inference.explaining import explain_site
from fedward_models.inference.finished_model import FinishedModel
from fedward_models.inference.predicting import predict_site
from fedward_models.method import Method

EVP = {"name": "evp", "weights": "as_built", "initial": "normal"}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=1, images_per_site=40, image_px=16, seed=1)
    return folder


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hearts")
    generate(folder, sites=1, images_per_site=20, image_px=16, kind=DataKind.CLIP, depth=8)
    return folder


def finished(data: Path) -> FinishedModel:
    backbone = {"name": "small_cnn", "widths": [4], "hidden": [8]}
    return built(data, method=EVP, backbone=backbone, dataset={"name": "films", "image_px": 16})


def of_clips(data: Path, **clips: Any) -> FinishedModel:
    backbone = {"name": "sts_resnet", "width": 4, "depths": [1], "stem": "small"}
    dataset = {"name": "hearts", "kind": "clip", "image_px": 16, "frames": 8}
    return built(data, method={"name": "supervised", "clips": clips}, backbone=backbone, dataset=dataset)


def built(data: Path, **parts: dict[str, Any]) -> FinishedModel:
    """A model whose head, where it is its own, says something, as if it had been trained."""
    stage = {"name": "only", "method": parts["method"], "backbone": parts["backbone"], "rounds": 1}
    spec = Spec.parse({"name": "s", "dataset": parts["dataset"], "stages": [stage]})
    contract = open_split(data, sites_in(data)[0], spec.dataset, Split.TEST).contract
    method = build_method(spec, 0, contract).eval()
    if "head.weight" in dict(method.named_parameters()):
        with seeded(1), torch.no_grad():
            method.get_parameter("head.weight").normal_()
    plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=contract)
    return FinishedModel(spec=spec, index=0, plan=plan, method=method)


def test_predictions_are_those_of_evaluation(hospitals: Path) -> None:
    model, site = finished(hospitals), sites_in(hospitals)[0]
    images = open_split(hospitals, site, model.spec.dataset, Split.TEST)
    (batch,) = Loader(images, batch_size=64, augment=False).in_order(64)
    with torch.no_grad():
        expected = model.method.predict_batch(batch)
    found = torch.from_numpy(predict_site(model, hospitals, site, Split.TEST).probabilities)
    torch.testing.assert_close(found, expected)
    assert float((expected[0] - expected[1]).abs().max()) > 1e-4


def test_whoever_predicts_gives_way_after_every_batch(hospitals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, site = finished(hospitals), sites_in(hospitals)[0]
    at_once = predict_site(model, hospitals, site, Split.TEST)
    moments: list[None] = []
    monkeypatch.setattr("fedward_models.inference.predicting.BATCH_SIZE", 3)
    found = predict_site(model, hospitals, site, Split.TEST, give_way=lambda: moments.append(None))
    assert len(moments) == -(-len(found.images) // 3) > 1
    torch.testing.assert_close(found.probabilities, at_once.probabilities)


def test_whoever_explains_gives_way_after_every_image(hearts: Path) -> None:
    model, site = of_clips(hearts, frames=2, crop_px=8), sites_in(hearts)[0]
    moments: list[None] = []
    how: Any = {"kind": "gradients", "num_images": 2, "give_way": lambda: moments.append(None)}
    assert len(explain_site(model, hearts, site, Split.TEST, **how)) == len(moments) == 2


def test_a_model_that_diverged_names_no_class(hospitals: Path) -> None:
    model = finished(hospitals)
    with torch.no_grad():
        next(model.method.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="predictions are not finite"):
        predict_site(model, hospitals, sites_in(hospitals)[0], Split.TEST)


def test_a_model_that_diverged_has_no_map_of_a_class(hospitals: Path) -> None:
    backbone = {"name": "small_cnn", "widths": [4], "hidden": []}
    method, dataset = {"name": "supervised"}, {"name": "films", "image_px": 16}
    model = built(hospitals, method=method, backbone=backbone, dataset=dataset)
    with torch.no_grad():
        next(model.method.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="predictions are not finite"):
        explain_site(model, hospitals, sites_in(hospitals)[0], Split.TEST, kind="gradients", num_images=1)


@pytest.mark.parametrize(
    ("field", "expected"), [("channels", 3), ("kind", DataKind.VOLUME), ("depth", 4), ("spacing_mm", (1.0, 1.0, 1.0))]
)
def test_images_of_another_form_are_not_predicted(hospitals: Path, field: str, expected: object) -> None:
    model = of_contract(finished(hospitals), **{field: expected})
    with pytest.raises(DataError, match=f"does not fit the model: {field} is .*, expected "):
        predict_site(model, hospitals, sites_in(hospitals)[0], Split.TEST)


@pytest.mark.parametrize("names", [("effusion", "normal"), ("effusion", "pneumonia", "normal")])
def test_labels_of_a_site_go_by_name(hospitals: Path, names: tuple[str, ...], tmp_path: Path) -> None:
    """A table lists the classes that it has, in alphabetical order; the model has its own order, and may have more."""
    site = sites_in(hospitals)[0]
    with np.load(hospitals / f"{site}.npz") as content:
        arrays = dict(content)
    named = arrays["classes"][arrays["labels"]]
    kept = np.isin(named, names)
    arrays = {name: values[kept] if len(values) == len(kept) else values for name, values in arrays.items()}
    arrays |= {"classes": np.array(names), "labels": np.array([names.index(name) for name in named[kept]])}
    np.savez(tmp_path / f"{site}.npz", **arrays)
    found = predict_site(finished(hospitals), tmp_path, site, Split.TRAIN)
    assert found.truth is not None
    said = [found.contract.classes[number] for number in found.truth.argmax(axis=1)]
    assert said == named[kept][arrays["split"] == "train"].tolist()


def test_a_site_of_other_classes_is_not_predicted(hospitals: Path, tmp_path: Path) -> None:
    site = sites_in(hospitals)[0]
    with np.load(hospitals / f"{site}.npz") as content:
        np.savez(tmp_path / f"{site}.npz", **dict(content) | {"classes": np.array(["normal", "cat", "effusion"])})
    with pytest.raises(DataError, match=r"does not fit the model: classes is .*, expected "):
        predict_site(finished(hospitals), tmp_path, site, Split.TEST)


def test_voxels_that_were_rounded_the_other_way_fit_a_model(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "north.npz", volumes=volumes, split=["train", "test"], spacing_mm=[3.0, 0.625, 1.0])
    backbone = {"name": "minit", "block_px": 8, "width": 8, "depth": 1, "heads": 2, "hidden": 8}
    dataset = {"name": "heads", "kind": "volume", "image_px": 16, "depth": 16, "classes": ["a", "b"]}
    model = built(tmp_path, method={"name": "supervised"}, backbone=backbone, dataset=dataset)
    other = of_contract(model, spacing_mm=(3.0, 0.63, 1.0))
    assert len(predict_site(other, tmp_path, "north", Split.TEST).images) == 1


def test_a_model_of_pixels_names_no_class_of_an_image(hospitals: Path) -> None:
    model = of_contract(finished(hospitals), task=Task.SEGMENTATION)
    with pytest.raises(SpecError, match="gives a class to every pixel"):
        predict_site(model, hospitals, sites_in(hospitals)[0], Split.TEST)


def of_contract(model: FinishedModel, **changes: object) -> FinishedModel:
    contract = model.plan.contract.model_copy(update=changes)
    return replace(model, plan=model.plan.model_copy(update={"contract": contract}))


def test_what_standardises_pixels_itself_is_no_graph_of_standardised_images(hospitals: Path) -> None:
    with pytest.raises(SpecError, match="take it home as safetensors"):
        traced(finished(hospitals))


def test_the_card_of_what_standardises_pixels_itself_says_so(hospitals: Path) -> None:
    card = write_card(finished(hospitals), RunFacts(cards=(), evaluations=()), None)
    assert "The method 'evp' standardises them itself" in card
    assert "then standardised by" not in card


def test_a_clip_is_explained_as_it_is_predicted(hearts: Path) -> None:
    """Two frames from the middle, a crop from the middle: the map is empty elsewhere, and sums to what it explains."""
    model, site = of_clips(hearts, frames=2, crop_px=8), sites_in(hearts)[0]
    found = explain_site(model, hearts, site, Split.TEST, kind="gradients", num_images=3)
    named = predict_site(model, hearts, site, Split.TEST).probabilities.argmax(axis=1)
    assert [one.named for one in found] == [model.plan.contract.classes[number] for number in named[:3]]
    for one in found:
        inside = one.heat[3:5, 4:12, 4:12].copy()
        assert inside.any()
        one.heat[3:5, 4:12, 4:12] = 0
        assert not one.heat.any()
        assert one.missed is not None
        assert one.missed < 0.1


def test_what_standardises_pixels_itself_is_not_explained(hospitals: Path) -> None:
    with pytest.raises(SpecError, match="'evp' standardises pixels itself"):
        explain_site(finished(hospitals), hospitals, sites_in(hospitals)[0], Split.TEST, kind="gradients", num_images=1)


def test_a_method_that_predicts_in_neither_way_is_named() -> None:
    class Mute(Method):
        pass

    with pytest.raises(NotImplementedError, match="Mute needs a predict or a predict_batch of its own"):
        Mute().predict(torch.zeros(1, 1, 8, 8))  # type: ignore[abstract]
