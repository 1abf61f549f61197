"""Reading what flows between the blocks of a network, without a change to the network."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn


@contextmanager
def tapped(blocks: nn.ModuleList, indices: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Within the block, forward passes leave the outputs of these blocks, by index, in what is yielded.

    Args:
        blocks: The blocks of a network.
        indices: Which of them, counted from 0.
    """
    outputs: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for index in set(indices):
            hook = blocks[index].register_forward_hook(
                lambda _, __, output, index=index: outputs.__setitem__(index, output)
            )
            stack.callback(hook.remove)
        yield outputs
