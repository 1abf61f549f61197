"""What training changes around it, and gives back: threads, modes of modules, what is trained, random numbers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads; with one, sums are always formed in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode for a while; every part then has its own mode again."""
    before = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, was_training in before:
            part.training = was_training


@contextmanager
def only_training(module: nn.Module, trained: Iterable[nn.Parameter]) -> Iterator[None]:
    """Gradients for these parameters alone; afterwards nothing holds a gradient."""
    before = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, had_gradient in before:
            parameter.requires_grad_(had_gradient)
            parameter.grad = None


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """The global generators of CPU and device are afterwards as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
