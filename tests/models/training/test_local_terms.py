"""When a local term is asked."""

from collections.abc import Callable
from typing import Any

import torch

from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.step import Clock
from fedward_models.training.config import SGDConfig
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm


class HoldsTheHead(LocalTerm):
    """Puts the classifier's bias back after every step."""

    def begin(self, method: Method) -> None:
        self.bias = method.get_parameter("head.bias").detach().clone()

    def after_step(self, method: Method) -> None:
        with torch.no_grad():
            assert not torch.equal(method.get_parameter("head.bias"), self.bias)
            method.get_parameter("head.bias").copy_(self.bias)


def test_a_term_has_the_last_word_on_the_weights_of_a_step(
    make_loader: Callable[..., Any], make_method: Callable[[], Method]
) -> None:
    """After the optimiser and before the method's own hook, at every step."""
    method, seen = make_method(), []
    start = method.get_parameter("head.bias").detach().clone()

    def note(clock: Clock) -> None:
        seen.append(torch.equal(method.get_parameter("head.bias"), start))

    method.after_step = note  # type: ignore[method-assign]
    phase = Phase(local=Local(optimizer=SGDConfig(lr=0.1)), terms=(HoldsTheHead(),))
    fit(method, make_loader(), (phase,), round_=0, rounds=1, seed=0, device=torch.device("cpu"))
    assert seen == [True] * 3
