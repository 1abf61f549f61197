"""A network that is no graph, or none that ONNX can hold, is refused in words, not with a fault of the exporter's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.export.network import traced
from fedward_models.export.onnx_file import write_onnx
from fedward_models.inference.finished_model import FinishedModel

Predict = Callable[[Tensor], Tensor]


@pytest.fixture
def model(built: Callable[[], FinishedModel]) -> FinishedModel:
    return built()


def scores(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :3]


NO_GRAPHS: dict[str, Predict] = {
    "decides by values": lambda images: scores(images) if images.sum() > 0 else scores(images).exp(),
    "computes with a value": lambda images: scores(images) * float(images.mean()),
    "leaves torch": lambda images: scores(images) + images.numpy().sum(),
    "fixes the number of images": lambda images: scores(images).reshape(3, -1),
}


@pytest.mark.parametrize("predict", NO_GRAPHS.values(), ids=NO_GRAPHS)
def test_what_is_no_graph_for_any_number_of_images_is_refused(
    model: FinishedModel, monkeypatch: pytest.MonkeyPatch, predict: Predict
) -> None:
    monkeypatch.setattr(model.method, "predict", predict)
    with pytest.raises(SpecError, match="take it home as safetensors"):
        traced(model)


def test_a_step_that_onnx_does_not_have_is_refused(
    model: FinishedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(model.method, "predict", lambda images: torch.special.bessel_j0(scores(images)))
    with pytest.raises(SpecError, match="a step that ONNX does not have"):
        write_onnx(model, tmp_path, {"spec_digest": "0"})
    assert not list(tmp_path.iterdir())
