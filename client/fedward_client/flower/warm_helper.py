"""Starts client apps fast: a helper process has imported what they need, and forks one for each task.

    agent --(a line of JSON on standard input: {"address", "token", "app", "note"})--> helper --fork--> client app
          --({"spec"})--> helper loads what the run needs, for the forks to come

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
from contextlib import suppress
from pathlib import Path

from flwr.supernode.runtime import run_clientapp as run_clientapp_module
from flwr.supernode.runtime.run_clientapp import run_clientapp

from fedward_client.agent.user import become
from fedward_client.flower.app_settings import SETTINGS, AppSettings, read_settings
from fedward_client.flower.approved_app import admit_only
from fedward_client.flower.pulling import ask_again_soon
from fedward_client.flower.quiet_errors import keep_text_here
from fedward_client.flower.work_note import note_start
from fedward_core.processes.kernel import bind_to
from fedward_core.processes.launching import Child, end_child, start_child
from fedward_core.spec import Spec
from fedward_models.programs.preloading import preload


class WarmHelper:
    """The agent's side of the helper. A helper that has died is replaced when it is next needed.

    The new one is told to load nothing: where the last one died of too little memory, that may be what it died of, and
    an app that loads it itself can fail without the orders of other runs.

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

    def start(self, address: str, token: str, app: str, note: Path) -> None:
        """Start the client app of a task; see :class:`fedward_client.flower.superexec.Launcher`."""
        order = {"address": address, "token": token, "app": app, "note": str(note)}
        if self._child.poll() is not None or not _write(self._child, order):
            end_child(self._child)
            self._child = self._start_helper()
            _write(self._child, order)

    def prepare(self, spec: Spec) -> None:
        """Load what a run needs: its apps start faster, and do the same."""
        if self._child.poll() is None:
            _write(self._child, {"spec": spec.model_dump_json()})

    def close(self) -> None:
        """End the helper and every client app of it."""
        end_child(self._child)

    def _start_helper(self) -> Child:
        command = [sys.executable, "-m", "fedward_client.flower.warm_helper"]
        return start_child(command, log=self._home / "client-app.log", environment=self._environment)


def _write(child: Child, order: Mapping[str, str]) -> bool:
    """Hand an order to the helper; False if it died a moment ago."""
    assert child.stdin is not None
    if child.stdin.closed:
        return False
    try:
        child.stdin.write(json.dumps(order).encode() + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        with suppress(BrokenPipeError):
            child.stdin.close()
        return False
    return True


def serve() -> None:
    """The helper's side: fork a client app for each line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    helper = os.getpid()
    for line in sys.stdin:
        order = json.loads(line)
        if "spec" in order:
            _prepare(Spec.model_validate_json(order["spec"]))
        elif os.fork() == 0:
            _work(helper, order["address"], order["token"], order["app"], Path(order["note"]))


def _prepare(spec: Spec) -> None:
    """Load what a run needs. What cannot be loaded now is met again, and answered, by the app that needs it."""
    settings = read_settings()
    try:
        preload(spec, site=settings.site, data=settings.data_of(spec.dataset.name))
    except Exception:  # noqa: BLE001 - whatever it was, the helper has to go on
        traceback.print_exc()


def _work(helper: int, address: str, token: str, app: str, note: Path) -> None:
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
        admit_only(run_clientapp_module, app)
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

    ask_again_soon(run_clientapp_module, "pull_and_inflate_object_from_tree")
    keep_text_here(run_clientapp_module, read_settings().site)


if __name__ == "__main__":
    if user := read_settings().run_as:
        become(user)
    warm_up()
    serve()
