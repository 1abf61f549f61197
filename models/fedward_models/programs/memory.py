"""Lack of memory, told as Python tells it, so that those who know no torch can tell it from other faults.

Of a network that would not fit, it is told before memory is full of it and the kernel ends some process or other.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

OF_PROCESSOR = "DefaultCPUAllocator"  # torch has a class for GPUs only
# Decided here: to train takes gradients and the optimiser's arrays besides, which are as large again.
PART = 0.5
FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})
# What the container may use, where there is one, by the second and by the first version of control groups.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@contextmanager
def lack_of_memory_told() -> Iterator[None]:
    """Within the block, torch's own errors become Python's.

    Raises:
        MemoryError: A GPU or the processor has too little memory.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError) or OF_PROCESSOR in str(error):
            raise MemoryError(str(error)) from error
        raise


class Weighed(TorchFunctionMode):
    """Counts the arrays that a network is made of, each before there is memory for it.

    Raises:
        MemoryError: Together they take more than half of this machine's memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self._memory_bytes = memory_bytes()
        self._is_virtual = torch.get_default_device().type == "meta"  # where arrays have sizes alone
        self._bytes = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """See torch: called in place of each of its functions."""
        if function in FACTORIES and not self._is_virtual:
            self._count(args, kwargs or {})
        return function(*args, **(kwargs or {}))

    def _count(self, args: Sequence[Any], settings: Mapping[str, Any]) -> None:
        size = settings.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
        self._bytes += math.prod(size) * (settings.get("dtype") or torch.get_default_dtype()).itemsize
        if self._bytes > PART * self._memory_bytes:
            raise MemoryError(
                f"the network would take {self._bytes / 1e9:.1f} GB or more, and may take half of the "
                f"{self._memory_bytes / 1e9:.1f} GB of memory here: choose a smaller one"
            )


def memory_bytes() -> int:
    """The memory of this machine, or of this process's container where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in LIMITS:
        text = limit.read_text(encoding="ascii").strip() if limit.exists() else ""
        found += [int(text)] if text.isdecimal() else []  # else "max"
    return min(found)
