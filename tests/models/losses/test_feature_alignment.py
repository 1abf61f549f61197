"""The alignment of tokens: its slow twin, its bounds, and what it cannot see."""

from math import pi, sqrt
from typing import Literal

import pytest
import torch
from torch import Tensor

from fedward_models.losses.feature_alignment import feature_alignment

Distance = Literal["l1", "l2"]
both = pytest.mark.parametrize("distance", ["l1", "l2"])


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slowly(student: Tensor, teacher: Tensor, distance: Distance) -> Tensor:
    """DMAE's released form, number by number."""
    losses = []
    for ours, theirs in zip(student, teacher, strict=True):
        terms = []
        for a, b in zip(ours, theirs, strict=True):
            for x, y in zip(a / max(float(a.norm()), 1e-12), b / max(float(b.norm()), 1e-12), strict=True):
                terms.append(abs(float(x - y)) if distance == "l1" else float(x - y) ** 2)
        losses.append(sum(terms) / len(terms))
    return torch.tensor(losses)


@both
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 1, 4)])
def test_it_equals_its_slow_twin(distance: Distance, shape: tuple[int, ...]) -> None:
    student, teacher = tokens(*shape), tokens(*shape, seed=1)
    found = feature_alignment(student, teacher, distance=distance)
    torch.testing.assert_close(found, slowly(student, teacher, distance), atol=1e-6, rtol=1e-5)


@both
def test_equal_tokens_are_aligned_whatever_their_length(distance: Distance) -> None:
    student = tokens(2, 5, 8)
    assert float(feature_alignment(student, student, distance=distance).abs().max()) == 0
    other = tokens(2, 5, 8, seed=1)
    torch.testing.assert_close(
        feature_alignment(3 * student, 0.2 * other, distance=distance),
        feature_alignment(student, other, distance=distance),
    )


def test_negated_tokens_are_as_far_away_as_they_can_be() -> None:
    """(2/D) * mean ||u||_1, at most 2/sqrt(D)."""
    student = tokens(2, 5, 16)
    units = student / student.norm(dim=-1, keepdim=True)
    found = feature_alignment(student, -student)
    torch.testing.assert_close(found, 2 / 16 * units.abs().sum(dim=-1).mean(dim=1))
    assert float(found.max()) <= 2 / sqrt(16)
    worst = torch.ones(1, 1, 16)
    torch.testing.assert_close(feature_alignment(worst, -worst), torch.tensor([2 / sqrt(16)]))


def test_independent_directions_have_the_derived_distance() -> None:
    found = float(feature_alignment(tokens(4, 250, 1024), tokens(4, 250, 1024, seed=1)).mean())
    assert found == pytest.approx(0.0353, abs=0.0005)
    assert found == pytest.approx(2 / sqrt(pi * 1024), rel=0.01)


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = tokens(1, 2, 3).requires_grad_(), tokens(1, 2, 3, seed=1).requires_grad_()
    feature_alignment(student, teacher).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None
