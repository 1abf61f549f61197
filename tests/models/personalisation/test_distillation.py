"""The local term of channel decoupling: its value, whom it teaches, and that it disturbs nothing else."""

import copy
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward_core.cards import Contract
from fedward_core.partition import Partition
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.losses.cyclic_distillation import cyclic_distillation
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.distillation import CyclicDistillation
from fedward_models.personalisation.halves import Half, gates, only
from fedward_models.step import Clock

HALF = Fraction(1, 2)


def tiny_method(norm: str = "batch") -> Method:
    torch.manual_seed(0)
    backbone = SmallCNNConfig.default(widths=(4, 6), hidden=(6,), norm=norm).build(image_px=8, channels=1)
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    assert isinstance(method, Method)
    nn.init.normal_(method.get_parameter("head.weight"))
    return method.train()


def batch(seed: int = 1) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return Batch(images=torch.randn(6, 1, 8, 8, generator=rng), labels=torch.arange(6) % 3)


def term_of(method: Method, **values: Any) -> CyclicDistillation:
    return CyclicDistillation(ChannelDecouplingConfig(**values), gates(method, HALF))


def loss_of(method: Method, **values: Any) -> Tensor:
    term, output = term_of(method, **values), method.training_step(batch(), Clock())
    term.begin(method)
    return term.loss(method, batch(), output)


def test_the_term_is_the_weighted_loss_between_the_halves() -> None:
    method = tiny_method()
    logits = []
    for half in Half:
        with only(half, method, gates(method, HALF)):
            logits.append(method.logits(batch().images))
    expected = 0.3 * cyclic_distillation(*logits, temperature=2.0)
    torch.testing.assert_close(loss_of(method, distillation=0.3, temperature=2.0), expected)
    assert expected > 0.01


def entries(method: Method, parameter: str) -> tuple[Tensor, Tensor]:
    """The gradient of a cut parameter at its shared and at its private entries."""
    rules = ChannelDecouplingConfig().build().rules(method)
    mask = Partition(manifest_of(method), rules, share=HALF).shared_mask(parameter)
    gradient = method.get_parameter(parameter).grad
    assert mask is not None
    assert gradient is not None
    return gradient[torch.from_numpy(mask)], gradient[torch.from_numpy(~mask)]


@pytest.mark.parametrize("detach_teacher", [False, True])
def test_both_halves_learn(detach_teacher: bool) -> None:
    method = tiny_method()
    loss_of(method, detach_teacher=detach_teacher).backward()  # type: ignore[no-untyped-call]
    for shared, private in (entries(method, "head.weight"), entries(method, "backbone.hidden.0.linear.weight")):
        assert shared.abs().sum() > 0
        assert private.abs().sum() > 0


def test_detaching_the_teacher_changes_gradients_but_not_the_loss() -> None:
    gradients = []
    losses = []
    for detach_teacher in (False, True):
        method = tiny_method()
        loss = loss_of(method, detach_teacher=detach_teacher)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        gradients.append(entries(method, "head.weight")[0])
    torch.testing.assert_close(losses[0], losses[1])
    assert not torch.allclose(gradients[0], gradients[1])


def train(method: Method, *, compute_and_drop: bool) -> dict[str, Tensor]:
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.5)
    term = term_of(method)
    term.begin(method)
    for step in range(3):
        output = method.training_step(batch(step), Clock())
        if compute_and_drop:
            term.loss(method, batch(step), output)
        optimizer.zero_grad()
        output.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return method.state_dict()


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_computing_the_term_changes_no_bit_of_training_without_it(norm: str) -> None:
    method = tiny_method(norm)
    plain = train(copy.deepcopy(method), compute_and_drop=False)
    computed = train(copy.deepcopy(method), compute_and_drop=True)
    assert all(torch.equal(plain[name], computed[name]) for name in plain)


def test_steps_on_the_term_bring_the_halves_together() -> None:
    method = tiny_method()
    before = loss_of(method).item()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        loss_of(method).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss_of(method).item() < before / 2


@pytest.mark.parametrize("student", list(Half))
def test_a_detached_divergence_teaches_one_half(student: Half) -> None:
    """The gradient of KL(teacher || student), with a constant teacher, reaches no entry that the teacher owns."""
    method = tiny_method()
    logits = {}
    for half in Half:
        with only(half, method, gates(method, HALF)):
            logits[half] = method.logits(batch().images).log_softmax(dim=1)
    teacher = next(logits[half].detach() for half in Half if half is not student)
    torch.autograd.backward((teacher.exp() * (teacher - logits[student])).sum(dim=1).mean())
    for name in ("head.weight", "backbone.hidden.0.linear.weight", "backbone.stages.0.conv.weight"):
        shared, private = entries(method, name)
        taught, untouched = (shared, private) if student is Half.SHARED else (private, shared)
        assert taught.abs().sum() > 0
        assert untouched.abs().sum() == 0
