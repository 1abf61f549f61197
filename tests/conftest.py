"""What every test runs under: one thread, no accelerator unless asked for, and a cache of its own."""

import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import settings

settings.register_profile("by hand", deadline=None)
settings.register_profile("by machine", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("by machine" if "CI" in os.environ else "by hand")


def pytest_configure(config: pytest.Config) -> None:
    """Set what a test meets, or a process that it starts: threads, cache, devices, and Ctrl-C."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["FEDWARD_CACHE"] = tempfile.mkdtemp(prefix="fedward-cache-")
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # A shell script's background jobs ignore Ctrl-C, and so would the commands that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no cache behind."""
    shutil.rmtree(os.environ["FEDWARD_CACHE"], ignore_errors=True)
