"""Lack of memory, told as Python tells it, so that those who know no torch can tell it from other faults."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

OF_PROCESSOR = "DefaultCPUAllocator"  # torch has a class for GPUs only


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
