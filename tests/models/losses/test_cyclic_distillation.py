"""Cyclic distillation against a slow twin, its own formula of the gradient, and the laws that it has by its form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedward_models.losses.cyclic_distillation import cyclic_distillation

SIZES = [(1, 2), (1, 1), (3, 5), (2, 3, 1, 7), (4, 2, 5, 3)]


def slow_twin(shared: Tensor, private: Tensor, temperature: float) -> float:
    """Sample by sample, place by place, class by class."""
    classes = shared.shape[1]
    rows = zip(
        shared.movedim(1, -1).reshape(-1, classes).tolist(),
        private.movedim(1, -1).reshape(-1, classes).tolist(),
        strict=True,
    )
    losses = []
    for row_s, row_l in rows:
        q_s, q_l = softmax(row_s, temperature), softmax(row_l, temperature)
        there = sum(p * math.log(p / q) for p, q in zip(q_s, q_l, strict=True))
        back = sum(q * math.log(q / p) for p, q in zip(q_s, q_l, strict=True))
        losses.append(temperature**2 * (there + back) / 2)
    return sum(losses) / len(losses)


def softmax(row: list[float], temperature: float) -> list[float]:
    exponentials = [math.exp(value / temperature) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def pair(size: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(size, generator=rng, dtype=torch.float64).requires_grad_() for _ in "sl")  # type: ignore[return-value]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_the_loss_equals_its_slow_twin(size: tuple[int, ...], temperature: float) -> None:
    shared, private = pair(size)
    loss = cyclic_distillation(shared, private, temperature=temperature)
    assert loss.item() == pytest.approx(slow_twin(shared, private, temperature), rel=1e-12, abs=1e-14)


def test_a_case_done_by_hand() -> None:
    """KL((.9, .1) || (.5, .5)) = 0.36806 and back 0.51083 nats; their mean is 0.4 ln 3 = 0.43944."""
    loss = cyclic_distillation(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log())
    assert loss.item() == pytest.approx(0.4 * math.log(3), rel=1e-6)


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from(SIZES))
def test_the_loss_is_symmetric_and_never_negative(seed: int, size: tuple[int, ...]) -> None:
    shared, private = pair(size, seed)
    there, back = cyclic_distillation(shared, private), cyclic_distillation(private, shared)
    assert there.item() == pytest.approx(back.item(), abs=1e-15)
    assert there.item() >= 0


@given(constant=st.floats(-50, 50))
def test_logits_that_differ_by_a_constant_agree(constant: float) -> None:
    logits = pair((3, 4))[0]
    assert cyclic_distillation(logits, logits + constant).item() == pytest.approx(0, abs=1e-12)


def test_logits_that_differ_otherwise_disagree() -> None:
    assert cyclic_distillation(*pair((3, 4))).item() > 0.01


@pytest.mark.parametrize("detach_teacher", [False, True])
def test_huge_logits_give_finite_losses_and_gradients(detach_teacher: bool) -> None:
    shared = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    private = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    loss = cyclic_distillation(shared, private, detach_teacher=detach_teacher)
    loss.backward()  # type: ignore[no-untyped-call]
    for value in (loss, shared.grad, private.grad):
        assert value is not None
        assert value.isfinite().all()


def test_the_gradient_reaches_both_halves_as_the_formula_says() -> None:
    """dL/ds = 1/2 [q_s (ln(q_s/q_l) - KL(q_s||q_l)) + q_s - q_l], and the same with s and l exchanged."""
    shared, private = pair((1, 5))
    cyclic_distillation(shared, private).backward()  # type: ignore[no-untyped-call]
    q_s, q_l = shared.detach().softmax(1), private.detach().softmax(1)
    torch.testing.assert_close(shared.grad, _formula(q_s, q_l))
    torch.testing.assert_close(private.grad, _formula(q_l, q_s))


def _formula(q: Tensor, other: Tensor) -> Tensor:
    ratio = (q / other).log()
    return (q * (ratio - (q * ratio).sum()) + (q - other)) / 2


def test_a_detached_teacher_leaves_the_gradient_of_mutual_learning() -> None:
    """KL(t || s) with a constant t pulls s by q_s - q_t; each half is the student once."""
    shared, private = pair((1, 5))
    cyclic_distillation(shared, private, detach_teacher=True).backward()  # type: ignore[no-untyped-call]
    q_s, q_l = shared.detach().softmax(1), private.detach().softmax(1)
    torch.testing.assert_close(shared.grad, (q_s - q_l) / 2)
    torch.testing.assert_close(private.grad, (q_l - q_s) / 2)


def test_temperature_keeps_the_size_of_small_gradients() -> None:
    """Near agreement the gradient barely depends on the temperature, which is what its square is for."""
    sizes = []
    for temperature in (1.0, 4.0):
        shared = torch.tensor([[1e-3, 0.0]], dtype=torch.float64, requires_grad=True)
        private = torch.zeros(1, 2, dtype=torch.float64)
        cyclic_distillation(shared, private, temperature=temperature).backward()  # type: ignore[no-untyped-call]
        assert shared.grad is not None
        sizes.append(shared.grad.abs().max().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=1e-3)
