"""What the layers that read the images gave in the pass before, so that passes through one half need not ask again.

The images are common to both halves: up to the first mask, all three passes are one. In a small CNN, most of the work
lies there. Predictions and losses are the same bits as in separate passes. Gradients of those layers agree to rounding
only: three gradients of one activation are added before they go through the layer, not after.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fedward_models.method import Method

Known = dict[nn.Module, tuple[Tensor, Tensor]]


class FirstLayers:
    """Remembers the newest input and output of each layer whose input nothing was trained to give.

    Args:
        method: The method.
        modules: Names of modules with one input, e.g. those whose output a pass through one half masks.
    """

    def __init__(self, method: Method, modules: Iterable[str]) -> None:
        self._known: Known = {}
        remember = partial(_remember, self._known)
        handles = [method.get_submodule(name).register_forward_hook(remember) for name in modules]
        self._end = weakref.finalize(self, _forget, handles, self._known)  # a round that fails calls nobody

    def forget(self) -> None:
        """Remember nothing any more."""
        self._end()

    @contextmanager
    def recalled(self) -> Iterator[None]:
        """Within the block, a layer that gets the very tensor that it got before gives what it gave then."""
        modules = tuple(self._known)
        for module in modules:
            vars(module)["forward"] = partial(_recall, self._known, module, module.forward)
        try:
            yield
        finally:
            for module in modules:
                del vars(module)["forward"]


def _remember(known: Known, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
    if output.requires_grad and not inputs[0].requires_grad:
        known[module] = (inputs[0], output)


def _recall(known: Known, module: nn.Module, forward: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    before, output = known[module]
    return output if given is before else forward(given)


def _forget(handles: list[RemovableHandle], known: Known) -> None:
    for handle in handles:
        handle.remove()
    known.clear()
