"""A bundle has the files and the mandatory keys of the MONAI Bundle Specification."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.bundle.config_parser import ConfigParser

from fedward_core.cards import Task
from fedward_core.spec import Standardisation
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


def test_a_bundle_that_knows_no_mean_asks_for_it(built: Callable[..., FinishedModel], tmp_path: Path) -> None:
    """Else MONAI would standardise each image by itself, as no site has done."""
    model, image = built(), torch.rand(1, 16, 16)
    known, unknown = tmp_path / "known", tmp_path / "unknown"
    for folder, standardisation in ((known, Standardisation(mean=0.5, std=0.25)), (unknown, None)):
        folder.mkdir()
        write_bundle(model, folder, describe(model, standardisation))
    expected = (image - 0.5) / 0.25
    torch.testing.assert_close(standardised(known, image), expected)
    torch.testing.assert_close(standardised(unknown, image, mean=0.5, std=0.25), expected)
    with pytest.raises(ValueError, match="`@mean` is not defined"):
        standardised(unknown, image)


def standardised(bundle: Path, image: torch.Tensor, **given: float) -> torch.Tensor:
    """What a bundle's own step makes of an image."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.update(given)
    number = [step["_target_"] for step in parser["preprocessing"]["transforms"]].index("NormalizeIntensity")
    step = parser.get_parsed_content(f"preprocessing::transforms::{number}")
    found: torch.Tensor = step(image).as_tensor()
    return found
