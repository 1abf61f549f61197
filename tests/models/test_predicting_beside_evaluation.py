"""A finished model predicts what it was evaluated by, also one that standardises pixels itself."""

from pathlib import Path

import pytest
import torch

from fedward_core.cards import Split
from fedward_core.errors import SpecError
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_models.building import build_method, manifest_of
from fedward_models.data import Loader, generate, open_split, sites_in
from fedward_models.export.facts import RunFacts
from fedward_models.export.model_card import write_card
from fedward_models.export.network import traced
from fedward_models.inference.finished_model import FinishedModel
from fedward_models.inference.predicting import predict_site

EVP = {"name": "evp", "weights": "as_built", "initial": "normal"}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=1, images_per_site=40, image_px=16, seed=1)
    return folder


def finished(hospitals: Path) -> FinishedModel:
    stage = {
        "name": "only",
        "method": EVP,
        "backbone": {"name": "small_cnn", "widths": [4], "hidden": [8]},
        "rounds": 1,
    }
    spec = Spec.parse({"name": "s", "dataset": {"name": "films", "image_px": 16}, "stages": [stage]})
    contract = open_split(hospitals, sites_in(hospitals)[0], spec.dataset, Split.TEST).contract
    method = build_method(spec, 0, contract).eval()
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


def test_what_standardises_pixels_itself_is_no_graph_of_standardised_images(hospitals: Path) -> None:
    with pytest.raises(SpecError, match="take it home as safetensors"):
        traced(finished(hospitals))


def test_the_card_of_what_standardises_pixels_itself_says_so(hospitals: Path) -> None:
    card = write_card(finished(hospitals), RunFacts(cards=(), evaluations=()), None)
    assert "The method 'evp' standardises them itself" in card
    assert "then standardised by" not in card
