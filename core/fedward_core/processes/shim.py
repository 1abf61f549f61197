"""The program between a starter and what it starts: it arranges how that ends, and then becomes it.

    python -m fedward_core.processes.shim bound SIGNAL STARTER COMMAND...   gets a signal at its starter's death
    python -m fedward_core.processes.shim free COMMAND...                   belongs to nobody, and outlives its starter

A free one tells on standard output who it is, as JSON, before it becomes the command. It is a child of nobody here, so
that no starter has to wait for its end, and it has a name even if it ends at once.
"""

import json
import os
import sys

from fedward_core.processes.kernel import bind_to, identity


def _be_bound(signal: int, starter: int, command: list[str]) -> None:
    if bind_to(starter, signal):
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def _be_free(command: list[str]) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    sys.stdout.write(json.dumps(identity(os.getpid())))
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "bound":
        _be_bound(int(rest[0]), int(rest[1]), rest[2:])
    else:
        _be_free(rest)
