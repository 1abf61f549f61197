"""The program between a starter and what it starts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

SHIM = "fedward_core.processes.shim"
FOREIGN = """
import json, sys
before = set(sys.modules)
import fedward_core.processes.shim
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(roots - sys.stdlib_module_names)))
"""


def test_it_starts_fast_for_it_imports_the_standard_library_alone() -> None:
    run = subprocess.run([sys.executable, "-c", FOREIGN], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == ["fedward_core"]


def test_a_command_whose_starter_has_died_is_not_begun(tmp_path: Path) -> None:
    """The kernel would send no signal of a death before it was asked."""
    begun = {os.getpid(): tmp_path / "starter lives", os.getppid(): tmp_path / "starter died"}
    for starter, file in begun.items():
        bound = [sys.executable, "-m", SHIM, "bound", str(int(signal.SIGTERM)), str(starter), "touch", str(file)]
        subprocess.run(bound, check=True)
    assert [file.name for file in tmp_path.iterdir()] == ["starter lives"]
