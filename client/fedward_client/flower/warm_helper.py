"""Starts client apps fast: a helper process has imported what they need, and forks one for each task.

    agent --(a line of JSON on standard input: {"address", "token"})--> helper --fork--> client app

The helper is a process of its own so that it holds no key and no connection of the agent's, and has one thread, as a
process that forks should. It touches no accelerator. When the agent's end of the pipe closes, it ends its children.
"""

import json
import os
import signal
import sys
import traceback

from flwr.supernode.runtime.run_clientapp import run_clientapp

from fedward_client.agent.settings import AgentSettings
from fedward_core.processes import Child, end_child, start_child

SETTINGS = "FEDWARD_AGENT_SETTINGS"


class WarmHelper:
    """The agent's side of the helper. A helper that has died is replaced when it is next needed.

    Args:
        settings: What client apps are told of their site.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._child = self._start_helper()

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._child.pid

    def start(self, address: str, token: str) -> None:
        """Start the client app of a task; see :class:`fedward_client.flower.superexec.Launcher`."""
        if self._child.poll() is not None:
            end_child(self._child)
            self._child = self._start_helper()
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"address": address, "token": token}).encode() + b"\n")
        self._child.stdin.flush()

    def close(self) -> None:
        """End the helper and every client app of it."""
        end_child(self._child)

    def _start_helper(self) -> Child:
        return start_child(
            [sys.executable, "-m", "fedward_client.flower.warm_helper"],
            log=self._settings.home / "client-app.log",
            environment={"FLWR_HOME": str(self._settings.home / "flower"), SETTINGS: self._settings.model_dump_json()},
        )


def serve() -> None:
    """The helper's side: fork a client app for each line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            _work(request["address"], request["token"])


def _work(address: str, token: str) -> None:
    """Be a client app, and end with it: a child never returns into the helper's loop."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run_clientapp(address, token, insecure=True, parent_pid=os.getppid())
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
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
