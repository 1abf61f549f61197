import subprocess
import sys
import time
from pathlib import Path

from benchmarks.deployed_round import _own_bytes


def test_a_process_that_has_just_ended_takes_no_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = Path(f"/proc/{child.pid}")
        assert _own_bytes(process) > 0
        assert child.stdin is not None
        child.stdin.close()  # it ends, and is not waited for yet
        while "State:\tZ" not in (process / "status").read_text():
            time.sleep(0.01)

        assert _own_bytes(process) == 0
