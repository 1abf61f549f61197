"""What a GPU says of its memory reaches those who know no torch."""

import pytest
import torch

from fedward_core.cards import Contract
from fedward_core.spec import Spec
from fedward_models.programs import torch_program
from fedward_models.programs.torch_program import TorchProgram

STAGE = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1}


def test_a_gpu_that_is_out_of_memory_is_told_of_as_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("tried to allocate 20.00 GiB")

    monkeypatch.setattr(torch_program, "build_method", fill)
    program = TorchProgram(Spec.parse({"name": "toy", "dataset": {"name": "films"}, "stages": [STAGE]}), 0)
    with pytest.raises(MemoryError, match=r"20\.00 GiB"):
        program.plan(Contract(classes=("a", "b")), None)
