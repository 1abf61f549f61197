"""What a MONAI bundle does to an image file's proportions is what the study did."""

from typing import Any

import monai.transforms
import numpy as np
import pytest
import torch

from fedward_core.spec import Dataset
from fedward_models.data.reading.pixels import resize_array
from fedward_models.export.monai_bundle import resizing


def as_monai_does(steps: list[dict[str, Any]], image: torch.Tensor) -> torch.Tensor:
    for step in steps:
        settings = {key: value for key, value in step.items() if key != "_target_"}
        image = getattr(monai.transforms, step["_target_"])(**settings)(image)
    return image


@pytest.mark.parametrize("keep_proportions", [False, True])
@pytest.mark.parametrize("shape", [(40, 20), (15, 20), (16, 16)])
def test_content_lies_where_training_had_it(shape: tuple[int, int], keep_proportions: bool) -> None:
    image = np.full(shape, 200, dtype=np.uint8)
    dataset = Dataset(name="films", image_px=16, keep_proportions=keep_proportions)
    ours = resize_array(image, 16, keep_proportions=keep_proportions)
    theirs = as_monai_does(resizing(dataset), torch.from_numpy(image[None]).float())
    np.testing.assert_allclose(np.asarray(theirs)[0], ours, atol=1)
