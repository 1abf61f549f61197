"""What torch says of too little memory reaches those who know no torch."""

from collections.abc import Callable

import pytest
import torch

from fedward_core.cards import Contract
from fedward_core.spec import Spec
from fedward_models.programs import torch_program
from fedward_models.programs.torch_program import TorchProgram

STAGE = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1}


def fill_a_gpu(*_: object) -> None:
    raise torch.cuda.OutOfMemoryError("tried to allocate 20.00 GiB")


def fill_this_machine(*_: object) -> None:
    torch.empty(2**62, dtype=torch.uint8)


@pytest.mark.parametrize("fill", [fill_a_gpu, fill_this_machine])
def test_lack_of_memory_is_told_as_python_tells_it(fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_program, "build_method", fill)
    with pytest.raises(MemoryError, match="tried to allocate"):
        program().plan(Contract(classes=("a", "b")), None)


def test_other_faults_of_torch_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_program, "build_method", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        program().plan(Contract(classes=("a", "b")), None)


def program() -> TorchProgram:
    return TorchProgram(Spec.parse({"name": "toy", "dataset": {"name": "films"}, "stages": [STAGE]}), 0)
