"""Workers that train one site together: each takes its share of every batch, and gradients are averaged.

    a batch of 64 --> 32 at worker 0 --> gradients --+
                 `--> 32 at worker 1 --> gradients --+--> their mean --> the same step at both

Whoever starts the workers joins them by torch's process group; without one there is one worker, and nothing here
changes a bit. Several compute what one computes on the whole batch, up to rounding, where the loss is a mean over
images. Each worker draws for itself, sees its own images in batch norms, whose running statistics are averaged, and
compares images within its share only.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from fedward_models.data.batches.share import Share


def joined_share() -> Share:
    """This process's place among the workers that it was joined with."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Share()
    return Share(index=distributed.get_rank(), count=distributed.get_world_size())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over the workers; a parameter that no worker has reached keeps none."""
    parameters = tuple(parameters)
    reached = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
    reached = reached.to(parameters[0].device)
    distributed.all_reduce(reached)
    gradients = []
    for parameter, count in zip(parameters, reached.tolist(), strict=True):
        if count:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    average(gradients)


def average_figures(figures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The means of scalars over the workers."""
    means = {name: figure.detach().clone() for name, figure in figures.items()}
    average(list(means.values()))
    return means


def average_buffers(module: nn.Module) -> None:
    """Replace buffers of floats, e.g. running statistics, by their means over the workers."""
    average([buffer for buffer in module.buffers() if buffer.is_floating_point()])


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over the workers, in one exchange."""
    if not tensors:
        return
    together = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(together)
    together /= distributed.get_world_size()
    parts = torch.split(together, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
