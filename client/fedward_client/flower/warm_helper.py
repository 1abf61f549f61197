"""Starts client apps fast: a helper process has imported what they need, and forks one for each task.

    agent --(a line of JSON on standard input: {"address", "token", "note"})--> helper --fork--> client app

The helper is a process of its own so that it holds no key and no connection of the agent's, and has one thread, as a
process that forks should. It touches no accelerator. When the agent's end of the pipe closes, it ends, and the kernel
ends its forks.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from flwr.supernode.runtime.run_clientapp import run_clientapp

from fedward_client.flower.app_settings import SETTINGS, AppSettings
from fedward_client.flower.work_note import note_start
from fedward_core.processes import Child, end_child, start_child
from fedward_core.starter import bind_to


class WarmHelper:
    """The agent's side of the helper. A helper that has died is replaced when it is next needed.

    Args:
        settings: What client apps are told of their site.
        home: Holds their log, and what Flower keeps.
        environment: Variables of the helper and its apps beside those of this process.
    """

    def __init__(self, settings: AppSettings, *, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._environment = {
            **(environment or {}),
            "FLWR_HOME": str(home / "flower"),
            SETTINGS: settings.model_dump_json(),
        }
        self._child = self._start_helper()

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._child.pid

    def start(self, address: str, token: str, note: Path) -> None:
        """Start the client app of a task; see :class:`fedward_client.flower.superexec.Launcher`."""
        if self._child.poll() is not None:
            end_child(self._child)
            self._child = self._start_helper()
        assert self._child.stdin is not None
        order = {"address": address, "token": token, "note": str(note)}
        self._child.stdin.write(json.dumps(order).encode() + b"\n")
        self._child.stdin.flush()

    def close(self) -> None:
        """End the helper and every client app of it."""
        end_child(self._child)

    def _start_helper(self) -> Child:
        command = [sys.executable, "-m", "fedward_client.flower.warm_helper"]
        return start_child(command, log=self._home / "client-app.log", environment=self._environment)


def serve() -> None:
    """The helper's side: fork a client app for each line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    helper = os.getpid()
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            _work(helper, order["address"], order["token"], Path(order["note"]))


def _work(helper: int, address: str, token: str, note: Path) -> None:
    """Be a client app, and end with it: a child never returns into the helper's loop.

    A process that ends by itself has answered. Flower's own way to notice the helper's death is not used: it would end
    the task without an answer, for which the SuperNode would then wait for ever.
    """
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if not bind_to(helper, signal.SIGKILL):
            return
        note_start(note)
        run_clientapp(address, token, insecure=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        note.unlink(missing_ok=True)
    except BaseException:  # noqa: BLE001 - whatever it was, it must not reach the loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm_up() -> None:
    """Import what a client app needs, before the first is asked for."""
    import fedward_client.flower.deployed_site  # noqa: F401, PLC0415 - it is imported for the forks


if __name__ == "__main__":
    warm_up()
    serve()
