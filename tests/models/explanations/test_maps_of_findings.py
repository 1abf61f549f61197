"""Findings do not exclude each other, so that a map of one is not less what speaks for another."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fedward_core.cards import Split
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_models.building import build_method, manifest_of
from fedward_models.data import open_split
from fedward_models.inference.explaining import explain_site
from fedward_models.inference.finished_model import FinishedModel

MINIT = {"name": "minit", "block_px": 4, "patch_px": 4, "width": 8, "depth": 1, "heads": 2, "hidden": 8}


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """A site with volumes of two findings."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "north.npz",
        volumes=rng.integers(0, 256, (6, 8, 8, 8), dtype=np.uint8),
        findings=rng.integers(0, 2, (6, 2)),
        split=np.array(["train", "test"] * 3),
        patient=np.array(list("abcdef")),
    )
    return tmp_path


def test_of_two_findings_each_speaks_for_itself(heads: Path) -> None:
    dataset = {"name": "heads", "kind": "volume", "image_px": 8, "depth": 8, "task": "multi_label"}
    stage = {"name": "train", "method": "supervised", "backbone": MINIT, "rounds": 1}
    spec = Spec.parse({"name": "heads", "dataset": dataset, "stages": [stage]})
    images = open_split(heads, "north", spec.dataset, Split.TEST)
    method = build_method(spec, 0, images.contract).eval()
    head = method.get_submodule("head")
    nn.init.normal_(head.get_parameter("weight"), generator=torch.Generator().manual_seed(3))
    plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=images.contract)
    model = FinishedModel(spec=spec, index=0, plan=plan, method=method)
    found = explain_site(model, heads, "north", Split.TEST, kind="contributions", num_images=3)
    with torch.no_grad():
        logits = method.logits((images.images.float() / 255 - images.mean) / images.std)
        expected = logits - head.get_parameter("bias")
    for row, each in enumerate(found):
        assert each.heat.sum() == pytest.approx(float(expected[row].max()), abs=1e-4)
