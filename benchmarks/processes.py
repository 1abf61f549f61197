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
    output_of_process(*command)
    return time.perf_counter() - start


def figure_of_process(*command: str) -> float:
    """The number that a process prints in its last line."""
    return float(output_of_process(*command).splitlines()[-1])


def output_of_process(*command: str) -> str:
    """What a process prints; if it fails, this one ends with what that one complained of."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(result.stderr)
    return result.stdout
