"""Supervises a SuperLink: Flower's own server process, on loopback and without TLS.

Everything of one SuperLink lies in its home: its database and what Flower keeps for itself.
"""

import sysconfig
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from fedward_core.errors import FedwardError
from fedward_core.processes import LOOPBACK, Child, end_child, free_port, start_child

START_TIMEOUT_S = 60.0
POLL_S = 0.1


class SuperLinkError(FedwardError):
    """The SuperLink did not start, or has ended."""


class SuperLink:
    """A SuperLink process; a context manager that starts and stops it.

    Args:
        home: Its folder; what an earlier SuperLink left there is taken up.
        log: Where its output goes.
    """

    def __init__(self, home: Path, *, log: Path) -> None:
        self._home = home
        self._log = log
        self._child: Child | None = None
        self.address = ""

    @property
    def pid(self) -> int:
        """The process id of the running SuperLink."""
        assert self._child is not None
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is healthy.

        Raises:
            SuperLinkError: It ended at once, or is not healthy in time; its log says why.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.address = f"{LOOPBACK}:{port}"
        self._child = start_child(
            self._command(port), log=self._log, environment={"FLWR_HOME": str(self._home / "flower")}
        )
        try:
            self._wait_until_healthy(self._child)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; to end what has ended is fine."""
        if self._child:
            end_child(self._child)
            self._child = None

    def healthy(self) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(f"http://{self.address}/health", timeout=1.0).is_success
        except httpx.HTTPError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, port: int) -> list[str]:
        program = Path(sysconfig.get_path("scripts")) / "flower-superlink"
        place = ["--host", LOOPBACK, "--port", str(port), "--insecure"]
        state = ["--isolation", "process", "--database", str(self._home / "superlink.db")]
        return [str(program), *place, *state, "--disable-runtime-dependency-installation"]

    def _wait_until_healthy(self, child: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.healthy():
            if child.poll() is not None or time.monotonic() > deadline:
                raise SuperLinkError("the SuperLink did not start: its log says why")
            time.sleep(POLL_S)
