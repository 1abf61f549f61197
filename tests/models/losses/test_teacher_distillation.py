"""What a student learns from a teacher's predictions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_models.losses.teacher_distillation import hard_distillation, soft_distillation


def probabilities(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(score / temperature) for score in row]
    return [power / sum(powers) for power in powers]


@given(size=st.integers(1, 4), classes=st.integers(1, 5), temperature=st.floats(0.5, 8), seed=st.integers(0, 99))
def test_the_soft_loss_agrees_with_its_slow_twin(size: int, classes: int, temperature: float, seed: int) -> None:
    ours, theirs = torch.randn(2, size, classes, generator=torch.Generator().manual_seed(seed))
    found = soft_distillation(ours, theirs, temperature=temperature)
    for row, (student, teacher) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
        p, q = probabilities(teacher, temperature), probabilities(student, temperature)
        expected = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert float(found[row]) == pytest.approx(expected, abs=1e-4)


def test_a_student_that_says_the_same_learns_nothing_softly() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = soft_distillation(logits, logits.detach() + 2.0, temperature=3.0).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-5, rtol=0)


def test_the_hard_loss_is_the_teachers_choice() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    teacher = torch.tensor([[0.1, 0.2], [5.0, -1.0]])
    torch.testing.assert_close(hard_distillation(logits, teacher), torch.tensor([math.log(4 / 3), math.log(2)]))
