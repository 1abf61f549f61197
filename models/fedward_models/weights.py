"""Between a module's tensors and named numpy arrays."""

import numpy as np
import torch
from torch import nn

from fedward_core.arrays import Array, Arrays
from fedward_core.errors import CheckpointError


def arrays_of(module: nn.Module) -> dict[str, Array]:
    """The state of a module as arrays that share its memory on CPU: copy what must outlive the next change."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, arrays: Arrays) -> None:
    """Copy a whole state into a module.

    Raises:
        CheckpointError: A name is missing or unexpected, or a shape differs: the state is of another architecture.
    """
    state = module.state_dict()
    if missing := state.keys() - arrays.keys():
        raise CheckpointError(f"the state lacks {len(missing)} entries, '{min(missing)}' first: another architecture?")
    if unexpected := arrays.keys() - state.keys():
        raise CheckpointError(f"the state has {len(unexpected)} unknown entries, '{min(unexpected)}' first")
    with torch.no_grad():
        for name, tensor in state.items():
            if tuple(tensor.shape) != arrays[name].shape:
                raise CheckpointError(f"'{name}' has shape {arrays[name].shape}, expected {tuple(tensor.shape)}")
            tensor.copy_(torch.from_numpy(_writable(arrays[name])))


def _writable(array: Array) -> Array:
    """Torch warns of arrays that it could not write to, though it only reads here."""
    return array if array.flags.writeable else np.array(array)
