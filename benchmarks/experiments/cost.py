"""What a step costs: processor time on one thread, multiplications, and parameters."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.step import Clock

REPEATS = 7


def show_steps(methods: Mapping[str, Method], batch: Batch, *, of: str = "images") -> None:
    """Print parameters, and milliseconds of a step; the batch needs no draws."""
    print(f"\n| a step of {len(batch)} {of}, one thread | parameters | ms |\n|---|---|---|")
    for name, method in methods.items():
        print(f"| {name} | {num_parameters(method):,} | {step_ms(method, batch):.1f} |")


def show_draws_and_steps(methods: Mapping[str, Method], batch: Batch) -> None:
    """Print milliseconds of drawing, of a step, and of the network alone on whole images."""
    columns = "draw ms | step ms | plain forward and backward ms"
    print(f"\n| a batch of {len(batch)}, one thread | {columns} |\n|---|---|---|---|")
    for name, method in methods.items():
        draw, step = draw_ms(method, batch), step_ms(method, drawn(method, batch))
        print(f"| {name} | {draw:.1f} | {step:.1f} | {network_ms(method.backbone, batch.images):.1f} |")


def drawn(method: Method, batch: Batch) -> Batch:
    """The batch with its draws, always the same."""
    return method.prepare(batch, torch.Generator().manual_seed(0))


def draw_ms(method: Method, batch: Batch) -> float:
    """Milliseconds of drawing."""
    return median_ms(lambda: drawn(method, batch))


def step_ms(method: Method, batch: Batch) -> float:
    """Milliseconds of forward and backward of a batch that is drawn."""
    return median_ms(lambda: _step(method, batch))


def network_ms(network: nn.Module, images: Tensor) -> float:
    """Milliseconds of forward and backward of a network alone."""
    return median_ms(lambda: network(images).sum().backward())


def flops(method: Method, batch: Batch) -> int:
    """Multiplications and additions of one step, forward and backward."""
    ready = drawn(method, batch)
    with FlopCounterMode(display=False) as counter:
        _step(method, ready)
    method.zero_grad()
    return int(counter.get_total_flops())


def num_parameters(network: nn.Module) -> int:
    """All of them, trained or not."""
    return sum(parameter.numel() for parameter in network.parameters())


def median_ms(work: Callable[[], object]) -> float:
    """The median processor time of a piece of work on one thread, after one that warms up."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000 * float(np.median(times))


def _step(method: Method, batch: Batch) -> None:
    method.training_step(batch, Clock()).loss.backward()  # type: ignore[no-untyped-call]  # torch
