"""A bundle has the files and the mandatory keys of the MONAI Bundle Specification."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fedward_core.cards import Task
from fedward_models.export.description import describe
from fedward_models.export.monai_bundle import write_bundle
from fedward_models.inference.finished_model import FinishedModel

MANDATORY = {
    *("version", "monai_version", "pytorch_version", "numpy_version", "optional_packages_version"),
    *("task", "description", "authors", "copyright", "network_data_format"),
}
OF_TENSORS = {
    *("type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data"),
    "channel_def",
}


@pytest.mark.parametrize(
    ("task", "kind", "spatial"),
    [(Task.CLASSIFICATION, ("probabilities", "classes"), []), (Task.SEGMENTATION, ("image", "labels"), [16, 16])],
)
def test_a_bundle_is_as_specified(
    built: Callable[[Task], FinishedModel], tmp_path: Path, task: Task, kind: tuple[str, str], spatial: list[int]
) -> None:
    model = built(task)
    write_bundle(model, tmp_path, describe(model, None))
    metadata = json.loads((tmp_path / "configs" / "metadata.json").read_text())
    image, given = (
        metadata["network_data_format"][way][name] for way, name in (("inputs", "image"), ("outputs", "pred"))
    )
    assert metadata.keys() >= MANDATORY
    assert image.keys() >= OF_TENSORS
    assert given.keys() >= OF_TENSORS
    assert ((given["type"], given["format"]), given["spatial_shape"]) == (kind, spatial)
    numbers, expected = torch.load(tmp_path / "models" / "model.pt", weights_only=True), model.method.state_dict()
    assert numbers.keys() == expected.keys()
    assert all(torch.equal(numbers[name], expected[name]) for name in expected)
