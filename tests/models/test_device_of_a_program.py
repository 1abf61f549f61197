"""Where a stage computes: as its spec says, or the reason why it cannot."""

import pytest
import torch

from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_models.programs.torch_program import TorchProgram


def device_of(wanted: str) -> torch.device:
    stage = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1, "local": {"device": wanted}}
    return TorchProgram(Spec.parse({"name": "toy", "dataset": {"name": "films"}, "stages": [stage]}), 0)._device


def show_gpus(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("wanted", "gpus", "found"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda"),
        ("cpu", 1, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_a_stage_computes_where_its_spec_says(
    wanted: str, gpus: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_gpus(gpus, monkeypatch)
    assert device_of(wanted) == torch.device(found)


@pytest.mark.parametrize(("wanted", "gpus"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:2", 2)])
def test_a_gpu_that_the_machine_lacks_is_a_fault_of_the_spec_and_no_unexpected_one(
    wanted: str, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_gpus(gpus, monkeypatch)
    with pytest.raises(SpecError, match=rf"local\.device is '{wanted}', but this machine has {gpus} usable GPUs"):
        device_of(wanted)
