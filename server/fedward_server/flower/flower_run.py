"""One Flower run for one attempt of a job: started, followed, and stopped whichever way the attempt ends.

<folder>/flower-run.json      the Flower run of the newest attempt, which the next one stops if it still lives
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from fedward_core.atomic import replacing
from fedward_core.engine import Job
from fedward_server.flower.bundle import build_bundle, run_config
from fedward_server.flower.connection import Connection
from fedward_server.flower.control import FlowerControl, FlowerStatus, RunRefusedError, SuperLinkAwayError

# A SuperLink that was killed is back within this time; Flower itself gives a silent ServerApp up after a minute.
AWAY_S = 60.0
PAUSE_S = 1.0

T = TypeVar("T")


class FlowerRun:
    """A Flower run at a SuperLink; a context manager that starts and stops it.

    Args:
        connection: The SuperLink.
        job: What it carries out.
        folder: Where the run is on record.
    """

    def __init__(self, connection: Connection, job: Job, folder: Path) -> None:
        self._connection = connection
        self._job = job
        self._record = folder / "flower-run.json"
        self._control = FlowerControl(connection)
        self.id = 0

    def __enter__(self) -> Self:
        """Stop what an attempt before this one left running, and start.

        Raises:
            RunRefusedError: The SuperLink does not take the run.
            SuperLinkAwayError: It has not answered for a while.
        """
        try:
            self._stop_predecessor()
            bundle = build_bundle().content
            self.id = _patiently(lambda: self._control.start_run(bundle, run_config(self._job)))
            with replacing(self._record) as temporary:
                record = {"superlink": self._connection.address, "run": str(self.id)}  # ids exceed JSON's safe integers
                temporary.write_text(json.dumps(record), encoding="utf-8")
        except BaseException:
            self._control.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(SuperLinkAwayError, RunRefusedError):
            if not self._control.status(self.id).finished:
                self._control.stop_run(self.id)
        self._control.close()

    def status(self) -> FlowerStatus | None:
        """Where the run stands; None while the SuperLink does not answer.

        Raises:
            RunRefusedError: The SuperLink does not know the run any more.
        """
        with suppress(SuperLinkAwayError):
            return self._control.status(self.id)
        return None

    def _stop_predecessor(self) -> None:
        if not self._record.exists():
            return
        record = json.loads(self._record.read_text(encoding="utf-8"))
        if record["superlink"] == self._connection.address:
            with suppress(RunRefusedError):  # it has finished, or the SuperLink has lost it with its database
                _patiently(lambda: self._control.stop_run(int(record["run"])))


def _patiently(call: Callable[[], T]) -> T:
    """Repeat a call until the SuperLink answers, for a while."""
    deadline = time.monotonic() + AWAY_S
    while True:
        try:
            return call()
        except SuperLinkAwayError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)
