"""The weighted mean against the averaging of SSL-FL.

Origin: github.com/rui-yan/SSL-FL at 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, code/util/FedAvg_utils.py, average_model,
on three clients with 1, 3 and 6 images; random weights of a small network. Run with torch 2.15 on CPU. Tolerance: 1e-6
absolute, as float32 sums in another order differ.

Only parameters are compared. Differs: the published code leaves the server's buffers untouched, ours are averaged.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.arrays import Array
from fedward_core.manifest import Manifest
from fedward_core.update import SHARED, Update

STORED = load_file(Path(__file__).with_name("ssl_fl_fedavg.safetensors"))
CLIENTS = ("client_a", "client_b", "client_c")


def test_the_weighted_mean_is_that_of_ssl_fl() -> None:
    average = below("out/average/")
    aggregator = WeightedMeanConfig().build()
    aggregator.begin(Manifest.of(average))
    for client, size in zip(CLIENTS, STORED["in/sizes"].tolist(), strict=True):
        shared = below(f"state/{client}/")
        aggregator.add(Update(site=client, round=0, parent="", num_examples=size, num_steps=1, groups={SHARED: shared}))
    result = aggregator.finish(average)
    assert result.keys() == average.keys()
    for name, array in average.items():
        np.testing.assert_allclose(result[name], array, rtol=0, atol=1e-6)


def below(prefix: str) -> dict[str, Array]:
    """Copies, for the aggregator changes what it is given."""
    return {name.removeprefix(prefix): array.copy() for name, array in STORED.items() if name.startswith(prefix)}
