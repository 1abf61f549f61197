"""A holder for a network that a method reads and never trains: a teacher, a tower, a tokenizer."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from torch import Tensor, nn

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class FrozenModule(nn.Module, Generic[NetworkT]):
    """Holds a network outside the state: it has no entry, is in no checkpoint or update, and is never trained.

    It moves between devices with the method that owns it, stays in evaluation mode, and takes no gradient. Whoever
    builds it gives it its weights each time, by digest (``fedward_models.frozen``).

    Attributes:
        network: What is held.
    """

    def __init__(self, network: NetworkT) -> None:
        super().__init__()
        # In a tuple, where torch does not look for parts of a module.
        self._held = (network.eval().requires_grad_(False),)

    @property
    def network(self) -> NetworkT:
        """What is held."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def network_of(module: NetworkT | FrozenModule[NetworkT]) -> NetworkT:
    """The network that a holder holds; a module that is no holder is the network itself, and part of the state."""
    return module.network if isinstance(module, FrozenModule) else module
