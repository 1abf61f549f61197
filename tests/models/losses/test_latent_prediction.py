"""BYOL's loss against a slow twin."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_models.losses.latent_prediction import latent_prediction


def twin(predicted: list[float], target: list[float]) -> float:
    """The squared distance of two arrows of length 1, number by number."""
    lengths = [math.sqrt(sum(value**2 for value in arrow)) for arrow in (predicted, target)]
    return sum((p / lengths[0] - t / lengths[1]) ** 2 for p, t in zip(predicted, target, strict=True))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 1000))
def test_it_is_the_squared_distance_of_arrows_of_length_one(batch: int, width: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    predicted, target = (torch.randn(batch, width, generator=rng).double() for _ in range(2))
    expected = [twin(p, t) for p, t in zip(predicted.tolist(), target.tolist(), strict=True)]
    torch.testing.assert_close(latent_prediction(predicted, target), torch.tensor(expected).double())


def test_lengths_do_not_matter_and_opposite_arrows_are_farthest() -> None:
    arrow = torch.tensor([[3.0, 4.0]])
    assert latent_prediction(arrow, 7 * arrow).item() == pytest.approx(0, abs=1e-6)
    assert latent_prediction(arrow, -arrow).item() == pytest.approx(4)


def test_the_target_takes_no_gradient() -> None:
    predicted, target = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    torch.autograd.backward(latent_prediction(predicted, target).sum())
    assert predicted.grad is not None
    assert target.grad is None
