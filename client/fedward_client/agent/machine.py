"""What the agent tells of its machine: versions, disk and GPUs."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from fedward_core import __version__
from fedward_core.fleet_messages import Versions

TIMEOUT_S = 10.0
Gpus = Literal["all"] | tuple[int, ...]


def versions() -> Versions:
    """What must be alike at both ends."""
    return Versions(fedward=__version__, flower=version("flwr"))


def free_disk_bytes(path: Path) -> int:
    """What is free where a path lies."""
    return shutil.disk_usage(path).free


def gpu_names(allowed: Gpus) -> tuple[str, ...]:
    """The names of the GPUs that runs may use; none where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None or allowed == ():
        return ()
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)  # noqa: S603 - the driver's own program, by its full path
    except (OSError, subprocess.SubprocessError):
        return ()
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return tuple(name for number, name in enumerate(names) if allowed == "all" or number in allowed)


def visible_devices(allowed: Gpus) -> dict[str, str]:
    """The environment that shows a process only the GPUs that it may use, by the numbers that ``nvidia-smi`` gives."""
    if allowed == "all":
        return {}
    # CUDA itself would count the fastest as the first, and show another one than is meant where they are not alike.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, allowed))}
