from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.step import StepOutput
from fedward_models.training.config import ProximalConfig
from fedward_models.training.terms import Proximal

BATCH, OUTPUT = Batch(images=torch.zeros(1, 1, 8, 8)), StepOutput(loss=torch.zeros(()))


@pytest.fixture
def method(make_method: Callable[[], Method]) -> Method:
    return make_method()


def begun(method: Method, mu: float) -> Proximal:
    term = Proximal(ProximalConfig(mu=mu))
    term.begin(method)
    return term


def move(method: Method) -> dict[str, Tensor]:
    """Move every parameter; by how much, by name."""
    rng = torch.Generator().manual_seed(2)
    steps = {name: torch.randn(p.shape, generator=rng) for name, p in method.named_parameters()}
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            parameter.add_(steps[name])
    return steps


def test_the_term_is_half_mu_times_the_squared_distance_number_by_number(method: Method) -> None:
    term = begun(method, mu=0.3)
    start = [p.item() for parameter in method.parameters() for p in parameter.detach().flatten()]
    move(method)
    now = [p.item() for parameter in method.parameters() for p in parameter.detach().flatten()]
    twin = 0.3 / 2 * sum((w - w_t) ** 2 for w, w_t in zip(now, start, strict=True))
    assert term.loss(method, BATCH, OUTPUT).item() == pytest.approx(twin, rel=1e-5)


def test_its_gradient_is_mu_times_the_way_from_the_start(method: Method) -> None:
    term = begun(method, mu=0.3)
    steps = move(method)
    torch.autograd.backward(term.loss(method, BATCH, OUTPUT))
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(parameter.grad, 0.3 * steps[name], rtol=1e-4, atol=1e-6)


def test_it_is_nothing_at_the_start_and_with_mu_zero(method: Method) -> None:
    assert begun(method, mu=0.3).loss(method, BATCH, OUTPUT).item() == 0
    term = begun(method, mu=0.0)
    move(method)
    assert term.loss(method, BATCH, OUTPUT).item() == 0


def test_what_is_not_trained_adds_nothing(method: Method) -> None:
    term = begun(method, mu=2.0)
    steps = move(method)
    method.backbone.requires_grad_(False)
    expected = sum(step.square().sum() for name, step in steps.items() if name.startswith("head."))
    torch.testing.assert_close(term.loss(method, BATCH, OUTPUT).detach(), expected)


def test_a_new_round_starts_from_its_own_weights(method: Method) -> None:
    term = begun(method, mu=1.0)
    move(method)
    term.begin(method)
    assert term.loss(method, BATCH, OUTPUT).item() == 0
