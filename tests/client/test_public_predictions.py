"""What a site sends about a public dataset: predictions, if it has consented, and never a weight or an image."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from fedward_client import site_work
from fedward_client.private_store import FilePrivateStore
from fedward_client.site_work import SiteSettings, answer
from fedward_core.arrays import digest
from fedward_core.order import PUBLIC, Base, Failure, Order, Work
from fedward_core.spec import Spec
from fedward_core.update import SHARED
from fedward_models.data import open_split
from fedward_models.data.image_set import open_public
from fedward_models.programs.program import Site, open_program

ROUNDS = 2


def write(path: Path, seed: int, **changes: Any) -> str:
    """A file of twelve images, and its digest."""
    rng = np.random.default_rng(seed)
    arrays = {"images": rng.integers(0, 200 + seed, (12, 8, 8), dtype=np.uint8), "labels": np.arange(12) % 2, **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    """A site with private channels that has consented."""
    write(tmp_path / "chest" / "north.npz", 1)
    sha256 = write(tmp_path / "open" / "north.npz", 2)
    stage = {
        "name": "only",
        "method": "supervised",
        "backbone": {"name": "small_cnn", "widths": [4], "hidden": []},
        "rounds": ROUNDS,
        "personalise": {"name": "channel_decoupling", "ramp_rounds": 0},
        "local": {"batch_size": 4, "device": "cpu", "optimizer": {"name": "sgd", "lr": 0.1}},
    }
    spec = Spec.parse(
        {
            "name": "toy",
            "dataset": {"name": "chest", "image_px": 8},
            "stages": [stage],
            "evaluate": {"split": "train", "bootstrap": 0, "public": {"name": "open", "sha256": sha256}},
        }
    )
    return SiteSettings(
        site="north", spec=spec, data=tmp_path / "chest", private=tmp_path / "private", public=tmp_path / "open"
    )


def trained(settings: SiteSettings) -> tuple[Order, dict[str, Any]]:
    """The order to evaluate after one training round, with what travels."""
    program = open_program(settings.spec, 0)
    card = program.describe(Site(name="north", data=settings.data, store=FilePrivateStore(settings.private)))
    plan, weights = program.plan(card.contract, None)
    parent = digest(weights)
    order = Order(run="r", work=Work.TRAIN, round=ROUNDS - 1, parent=parent, plan=plan)
    reply, groups = answer(order, weights, settings)
    assert reply.failure is None
    shared = {name: np.array(array) for name, array in groups[SHARED].items()}
    base = Base(round=ROUNDS - 1, parent=parent)
    return order.model_copy(update={"work": Work.EVALUATE, "base": base}), shared


def test_after_the_last_round_only_probabilities_and_labels_of_public_images_are_sent(settings: SiteSettings) -> None:
    order, shared = trained(settings)
    reply, groups = answer(order, shared, settings)
    assert reply.failure is None
    assert set(groups) == {PUBLIC}
    assert {name: array.shape for name, array in groups[PUBLIC].items()} == {"probabilities": (12, 2), "labels": (12,)}
    np.testing.assert_allclose(groups[PUBLIC]["probabilities"].sum(axis=1), 1, rtol=1e-5)


def test_the_sites_own_model_predicts_and_sees_images_as_it_sees_its_own(settings: SiteSettings) -> None:
    order, shared = trained(settings)
    _, groups = answer(order, shared, settings)
    store = FilePrivateStore(settings.private / "only")
    site = Site(name="north", data=settings.data, store=store, public=settings.public)
    program: Any = open_program(settings.spec, 0)
    method = program.personal(order, shared, site).eval()
    own = open_split(settings.data, "north", settings.spec.dataset, settings.spec.evaluate.split)
    with np.load(settings.public / "north.npz") as file:  # type: ignore[operator]
        pixels = torch.from_numpy(file["images"][:, None]).float() / 255
    with torch.no_grad():
        expected = method.predict((pixels - own.mean) / own.std)
    torch.testing.assert_close(torch.from_numpy(np.array(groups[PUBLIC]["probabilities"])), expected)


def test_no_predictions_are_sent_before_the_last_round(settings: SiteSettings) -> None:
    order, shared = trained(settings)
    longer = settings.spec.stages[0].model_copy(update={"rounds": ROUNDS + 1})
    _, groups = answer(order, shared, replace(settings, spec=settings.spec.model_copy(update={"stages": (longer,)})))
    assert groups == {}


@pytest.mark.parametrize(("stage", "sent"), [(0, set()), (1, {PUBLIC})])
def test_a_stage_that_predicts_no_classes_is_not_asked_what_it_predicts(
    stage: int, sent: set[str], settings: SiteSettings
) -> None:
    values = settings.spec.model_dump(mode="json")
    before = {"name": "before", "method": "mae", "backbone": "vit", "rounds": 1}
    spec = Spec.parse({**values, "stages": [before, *values["stages"]]})
    order = Order(run="r", work=Work.EVALUATE, stage=stage, round=spec.stages[stage].rounds - 1)
    program = Mock(predict_public=Mock(return_value={}))
    assert site_work._on_public(program, order, {}, Mock(), spec).keys() == sent
    assert program.predict_public.call_count == len(sent)


@pytest.mark.parametrize("work", [Work.DESCRIBE, Work.TRAIN, Work.EVALUATE])
def test_a_site_that_has_not_consented_answers_nothing_of_such_a_run(settings: SiteSettings, work: Work) -> None:
    reply, groups = answer(Order(run="r", work=work), {}, replace(settings, public=None))
    assert (reply.failure, groups) == (Failure.SPEC, {})


def test_another_file_than_the_spec_names_is_refused(settings: SiteSettings) -> None:
    order, shared = trained(settings)
    assert settings.public is not None
    write(settings.public / "north.npz", 3)
    reply, groups = answer(order, shared, settings)
    assert (reply.failure, groups) == (Failure.DATA, {})


def test_a_dataset_of_other_classes_is_refused(settings: SiteSettings) -> None:
    assert settings.public is not None
    assert settings.spec.evaluate.public is not None
    sha256 = write(settings.public / "north.npz", 2, classes=np.array(["other", "names"]))
    public = settings.spec.evaluate.public.model_copy(update={"sha256": sha256})
    own = open_split(settings.data, "north", settings.spec.dataset, settings.spec.evaluate.split)
    with pytest.raises(Exception, match="other classes or images than the study"):
        open_public(settings.public, "north", settings.spec.dataset, public, own)
