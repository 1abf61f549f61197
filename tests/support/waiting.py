"""Waiting in tests for what other processes and threads do."""

import time
from collections.abc import Callable
from typing import Any


def wait_until(holds: Callable[[], Any], *, patience_s: float = 120.0) -> None:
    """Look every moment until something holds.

    Raises:
        AssertionError: It did not come to hold in time.
    """
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
