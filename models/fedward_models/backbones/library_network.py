"""What networks of libraries have in common as backbones: order of layers, weights from a file, and polite refusals."""

import difflib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from fedward_core.errors import CheckpointError, SpecError
from fedward_models.frozen import FrozenWeights, read_frozen

_SMALLEST_PX = 8  # as of dataset.image_px


def check_size(image_px: int) -> None:
    """Refuse images in which no network of a library finds anything.

    Raises:
        SpecError: They are smaller than 8 pixels.
    """
    if image_px < _SMALLEST_PX:
        raise SpecError(f"images of {image_px} pixels are too small: expected at least {_SMALLEST_PX}")


def unknown_network(library: str, name: str, known: Iterable[str]) -> SpecError:
    """The error for a network that a library does not have; it names the nearest ones."""
    near = difflib.get_close_matches(name, tuple(known), n=5, cutoff=0.4)
    nearest = f"Did you mean {', '.join(near)}?" if near else "None has a name like it."
    return SpecError(f"{library} has no network '{name}' here. {nearest}")


def layers_of(network: nn.Module, *, prefix: str) -> dict[str, int]:
    """The layer of every entry of the state, from 0, in the order in which a network declares its blocks.

    Decided here: a block is a child of the network, or, where that is a list, each of its members. What holds no
    weights of its own beside scales and shifts, such as a norm, counts with the block before it.

    Args:
        network: The network.
        prefix: Stands before the names of the result.
    """
    layers: dict[str, int] = {}
    last = -1
    for names in _blocks(network):
        if last < 0 or any(network.get_parameter(name).ndim > 1 for name in names if _is_parameter(network, name)):
            last += 1
        layers.update({prefix + name: last for name in names})
    return layers


def load_library_weights(
    network: nn.Module, weights: FrozenWeights, *, without: tuple[str, ...], fit: Callable[[str, Tensor], Tensor]
) -> None:
    """Load a file into a network.

    Args:
        network: Its entries are overwritten.
        weights: The file.
        without: Modules of the file that have no place here: the library's own classifier.
        fit: Brings an entry of the file into the form of its place.

    Raises:
        CheckpointError: There is no such file, an entry is missing or unknown, or has another shape.
    """
    own = network.state_dict()
    dropped = tuple(f"{name}." for name in without)
    found = {name: torch.from_numpy(array) for name, array in read_frozen(weights).items()}
    state = {name: fit(name, tensor) for name, tensor in found.items() if name in own or not name.startswith(dropped)}
    missing = [name for name, tensor in own.items() if name not in state and tensor.is_floating_point()]
    unknown = [name for name in state if name not in own]
    other = [name for name, tensor in own.items() if name in state and state[name].shape != tensor.shape]
    for names, fault in ((missing, "lack"), (unknown, "have unknown"), (other, "have other shapes in")):
        if names:
            raise CheckpointError(
                f"{weights.note('weights of the backbone')} {fault} {len(names)} entries, '{names[0]}' first: they are "
                "of another network, or of another size of images"
            )
    network.load_state_dict(state, strict=False)


def _blocks(network: nn.Module, name: str = "") -> Iterator[list[str]]:
    """Names of the entries of each block, in order; what the network holds itself comes first."""
    before = f"{name}." if name else ""
    own = [f"{before}{entry}" for entry in network.state_dict() if "." not in entry]
    if own:
        yield own
    for child, module in network.named_children():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            yield from _blocks(module, f"{before}{child}")
        elif state := module.state_dict():
            yield [f"{before}{child}.{entry}" for entry in state]


def _is_parameter(network: nn.Module, name: str) -> bool:
    owner, _, entry = name.rpartition(".")
    return entry in network.get_submodule(owner)._parameters
