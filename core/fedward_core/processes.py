"""Programs that a part of Fedward starts and ends: none outlives its starter, however that ends.

start_child -> python -m fedward_core.processes <starter's pid> <command>

The program in between asks the kernel for SIGTERM at the starter's death, and then becomes the command. A child has a
process group of its own: Ctrl-C in a terminal reaches its starter only, which ends it in order.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1  # prctl(2)
PATIENCE_S = 10.0

Child = subprocess.Popen[bytes]


def start_child(command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Child:
    """Start a program; start it from a thread that lives as long as it shall, or it ends with the thread.

    Args:
        command: The program and its arguments.
        log: Where its output is appended.
        environment: Variables beside those of this process.

    Returns:
        The process. Its standard input is a pipe from this one.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    guarded = [sys.executable, "-m", "fedward_core.processes", str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - programs of ours and of Flower
            guarded,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def end_child(child: Child, *, patience_s: float = PATIENCE_S) -> None:
    """Ask a child to end, and make it and its whole group end if it does not. To end what has ended is fine."""
    child.terminate()
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    _kill_group(child.pid)
    if child.stdin:
        child.stdin.close()


def free_port() -> int:
    """A port of this machine's loopback address that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _become(starter: int, command: list[str]) -> None:
    """Turn this process into the command, bound to its starter's life."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == starter:  # else it died before the kernel was asked
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
