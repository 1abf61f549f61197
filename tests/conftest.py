"""What every test runs under: one thread, no accelerator unless asked for, and properties without a clock."""

import os

import pytest
from hypothesis import settings

settings.register_profile("by hand", deadline=None)
settings.register_profile("by machine", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("by machine" if "CI" in os.environ else "by hand")


def pytest_configure(config: pytest.Config) -> None:
    """Set what torch reads when a test, or a process that a test starts, imports it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
