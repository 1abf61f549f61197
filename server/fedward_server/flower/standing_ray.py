"""Ray that stands from one run to the next, with its workers: to start them takes longer than many a run.

Differs: Flower's simulation runtime starts Ray for every run and ends it afterwards, and 1.41 knows no other way. For
as long as the block lasts its backend keeps what it has started; the exact pin of flwr says when to look here again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from flwr.clientapp import ClientApp
from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
from flwr.simulation.ray_transport.ray_actor import BasicActorPool


@contextmanager
def standing_ray() -> Iterator[None]:
    """Keep Ray and its workers while the block lasts; the first run within it says how many workers there are."""
    kept: list[BasicActorPool] = []
    start, end = RayBackend.build, RayBackend.terminate

    def build(backend: RayBackend, app_fn: Callable[[], ClientApp]) -> None:
        if not kept:
            start(backend, app_fn)
            assert backend.pool is not None
            kept.append(backend.pool)
        backend.pool, backend.app_fn = kept[0], app_fn

    _put(build, lambda _: None)
    try:
        yield
    finally:
        _put(start, end)
        ray.shutdown()


def _put(build: Callable[..., None], terminate: Callable[..., None]) -> None:
    RayBackend.build, RayBackend.terminate = build, terminate  # type: ignore[method-assign]
