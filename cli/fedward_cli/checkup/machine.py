"""This machine: Python, what is installed, disk, GPUs, and a port."""

import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fedward_cli.checkup.finding import Finding, fault, warning, well
from fedward_core import __version__
from fedward_core.loopback import LOOPBACK

OLDEST_PYTHON = (3, 11)
# Decided here: a run of a small model keeps some hundred megabytes; below a gigabyte the site refuses new runs.
LEAST_DISK_GB, AMPLE_DISK_GB = 1.0, 10.0
PARTS = {"flwr": "server and client", "torch": "models", "fastapi": "server", "ray": "simulation", "onnx": "export"}


def examine_machine(place: Path, port: int) -> Iterator[Finding]:
    """Look at the machine.

    Args:
        place: Where runs will be kept.
        port: Where a coordinator would listen.
    """
    yield _python()
    yield from _parts()
    yield _disk(place)
    yield _gpus()
    yield _port(port)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fault("Python", f"{found}: Fedward needs 3.11 or newer")
    return well("Python", found)


def _parts() -> Iterator[Finding]:
    yield well("Fedward", __version__)
    for name, extra in PARTS.items():
        try:
            yield well(name, version(name))
        except PackageNotFoundError:
            yield warning(name, f"is not installed: what needs the extra {extra} does not work here")


def _disk(place: Path) -> Finding:
    there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    if free < LEAST_DISK_GB:
        return fault("disk", f"{free:.1f} GB are free: make room for checkpoints and private state, 10 GB or more")
    if free < AMPLE_DISK_GB:
        return warning("disk", f"{free:.1f} GB are free: enough for small models only")
    return well("disk", f"{free:.0f} GB are free")


def _gpus() -> Finding:
    from fedward_client.agent.machine import gpu_names

    names = gpu_names("all")
    return well("GPU", ", ".join(names) if names else "none, or its driver does not answer: training uses the CPU")


def _port(port: int) -> Finding:
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        return warning(f"port {port}", f"{error.strerror}: a coordinator that is to start here needs another --port")
    return well(f"port {port}", "is free for a coordinator")
