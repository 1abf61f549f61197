"""What every test runs under: one thread, no accelerator unless asked for, and a cache of its own."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

settings.register_profile("by hand", deadline=None)
settings.register_profile("by machine", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("by machine" if "CI" in os.environ else "by hand")


def pytest_configure(config: pytest.Config) -> None:
    """Set what torch and the cache of decoded images read in a test, or in a process that a test starts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["FEDWARD_CACHE"] = tempfile.mkdtemp(prefix="fedward-cache-")
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no cache behind."""
    shutil.rmtree(os.environ["FEDWARD_CACHE"], ignore_errors=True)
