"""What torch says of too little memory reaches those who know no torch."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fedward_core.cards import Contract
from fedward_core.spec import Spec
from fedward_models.building import build_method
from fedward_models.programs import memory, torch_program
from fedward_models.programs.memory import Weighed
from fedward_models.programs.torch_program import TorchProgram

STAGE = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1}
CONTRACT = Contract(classes=("a", "b"))


def fill_a_gpu(*_: object) -> None:
    raise torch.cuda.OutOfMemoryError("tried to allocate 20.00 GiB")


def fill_this_machine(*_: object) -> None:
    torch.empty(2**62, dtype=torch.uint8)


@pytest.mark.parametrize("fill", [fill_a_gpu, fill_this_machine])
def test_lack_of_memory_is_told_as_python_tells_it(fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_program, "build_method", fill)
    with pytest.raises(MemoryError, match="tried to allocate"):
        program().plan(CONTRACT, None)


def test_other_faults_of_torch_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_program, "build_method", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        program().plan(CONTRACT, None)


@pytest.mark.parametrize("backbone", ["small_cnn", "vit", "resnet"])
def test_a_network_may_take_half_of_the_memory_and_no_more(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spec(backbone)
    weights = sum(tensor.nbytes for tensor in build_method(made, 0, CONTRACT).state_dict().values())
    monkeypatch.setattr(memory, "memory_bytes", lambda: int(2.1 * weights))
    build_method(made, 0, CONTRACT)
    monkeypatch.setattr(memory, "memory_bytes", lambda: int(1.9 * weights))
    with pytest.raises(MemoryError, match=r"would take 0\.0 GB or more, and may take half of the 0\.0 GB"):
        build_method(made, 0, CONTRACT)


def test_an_absurd_array_is_refused_before_there_is_memory_for_it() -> None:
    with Weighed():
        assert torch.ones((2, 3)).shape == torch.full(size=(2, 3), fill_value=1).shape == torch.empty([2, 3]).shape
        for size in ((2**50,), (2**30, 2**30, 2**30)):  # torch itself would have no words for the second
            with pytest.raises(MemoryError, match="choose a smaller one"):
                torch.ones(*size)


def test_sizes_alone_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1)
    with torch.device("meta"), Weighed():
        assert torch.empty(1000, 1000).shape == (1000, 1000)


@pytest.mark.parametrize(("limits", "expected"), [(("4096", "max"), 4096), (("max", "8192"), 8192), ((), None)])
def test_a_container_may_have_less_memory_than_its_machine(
    limits: tuple[str, ...], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (tmp_path / "0", tmp_path / "1")
    for file, limit in zip(files, limits, strict=False):
        file.write_text(f"{limit}\n")
    monkeypatch.setattr(memory, "LIMITS", files)
    assert memory.memory_bytes() == (expected or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def spec(backbone: str) -> Spec:
    stage = {**STAGE, "backbone": backbone}
    return Spec.parse({"name": "toy", "dataset": {"name": "films"}, "stages": [stage]})


def program() -> TorchProgram:
    return TorchProgram(spec("small_cnn"), 0)
