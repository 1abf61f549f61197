"""The benchmark of memory speaks the language of today's round loop: it is run by hand, and would break unseen."""

import numpy as np
import pytest
from benchmarks import server_memory

from fedward_core.arrays import Arrays
from fedward_core.packed_arrays import pack


def few_weights(value: float) -> Arrays:
    return {"weight": np.full(4, value, dtype=np.float32)}


def test_the_sites_of_the_memory_benchmark_carry_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_memory, "weights", few_weights)
    server_memory.run(num_sites=2, answer=pack(few_weights(0.5)))  # fails without a quorum
