"""Programs that a part of Fedward starts and ends.

start_child      ends with its starter, however that ends; has a process group of its own, so that Ctrl-C in a terminal
                 reaches the starter only, which ends it in order
start_service    belongs to nobody: it outlives its starter, and is found again by its identity
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fedward_core.processes.process import Process

# What people and the coordinator are told by their environment, and no program that they start needs.
SECRETS = ("FEDWARD_KEY", "FEDWARD_DATABASE", "FEDWARD_TOKEN")
PATIENCE_S = 10.0
POLL_S = 0.02

Child = subprocess.Popen[bytes]


def start_child(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    at_starters_death: signal.Signals = signal.SIGTERM,
) -> Child:
    """Start a program; start it from a thread that lives as long as it shall, or it ends with the thread.

    Args:
        command: The program and its arguments.
        log: Where its output is appended.
        environment: Variables beside those of this process, of which it gets no key and no password.
        at_starters_death: What the kernel sends it when this process has died.

    Returns:
        The process. Its standard input is a pipe from this one.
    """
    guarded = [*_shim("bound"), str(int(at_starters_death)), str(os.getpid()), *command]
    with _opened(log) as output:
        return subprocess.Popen(  # noqa: S603 - programs of ours and of Flower
            guarded,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**_without_secrets(), **(environment or {})},
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


def start_service(command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Start a program that outlives this process, in a session of its own.

    Args:
        command: The program and its arguments.
        log: Where its output is appended.
        environment: Variables beside those of this process, of which it gets no key and no password.

    Returns:
        The process, which may have ended by now.

    Raises:
        OSError: It could not be started.
    """
    with _opened(log) as output:
        started = subprocess.run(  # noqa: S603 - programs of ours and of Flower
            [*_shim("free"), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**_without_secrets(), **(environment or {})},
            check=False,
        )
    if not started.stdout:
        raise ChildProcessError(f"a program could not be started (exit code {started.returncode}): its log says why")
    return Process.model_validate_json(started.stdout)


def end_service(process: Process, *, patience_s: float = PATIENCE_S) -> None:
    """Ask a service to end, and make its whole group end if it does not. To end what has ended is fine."""
    process.signal(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while process.is_alive and time.monotonic() < deadline:
        time.sleep(POLL_S)
    process.signal_group(signal.SIGKILL)
    while process.is_alive:
        time.sleep(POLL_S)


def _opened(log: Path) -> BinaryIO:
    """A log to append to, which its user alone can read: it may name files."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return open(log, "ab", opener=partial(os.open, mode=0o600))


def _without_secrets() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def _shim(kind: str) -> list[str]:
    return [sys.executable, "-m", "fedward_core.processes.shim", kind]


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
