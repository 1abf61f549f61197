"""Fresh processes, so that nothing that was imported or allocated before is in a figure."""

import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
FEDWARD = str(Path(sys.executable).with_name("fedward"))


def seconds_of_process(*command: str) -> float:
    """How long a process takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def figure_of_process(*command: str) -> float:
    """The number that a process prints in its last line."""
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(result.stdout.splitlines()[-1])
