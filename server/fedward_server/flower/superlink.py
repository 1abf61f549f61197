"""Supervises a SuperLink, Flower's own server process, on loopback and without TLS; and how one with TLS is started.

Everything of one SuperLink lies in its home: its database and what Flower keeps for itself.
"""

import sysconfig
import time
from pathlib import Path
from typing import Self

from fedward_core.errors import FedwardError
from fedward_core.loopback import LOOPBACK, free_port
from fedward_core.processes.launching import Child, end_child, start_child
from fedward_server.flower.connection import SECRET, Connection
from fedward_server.tls import TLSFiles

# Decided here: it starts within seconds on a quiet machine, and was seen to need more than a minute on a crowded one,
# where an impatient keeper would end each new one before it answers.
START_TIMEOUT_S = 180.0
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
            superlink_command(self._home, port), log=self._log, environment=superlink_environment(self._home)
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
        return Connection(address=self.address).healthy()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_healthy(self, child: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.healthy():
            if child.poll() is not None or time.monotonic() > deadline:
                raise SuperLinkError("the SuperLink did not start: its log says why")
            time.sleep(POLL_S)


def superlink_command(home: Path, port: int, *, keys: Path | None = None, tls: TLSFiles | None = None) -> list[str]:
    """The command that starts a SuperLink on loopback.

    Args:
        home: Its folder.
        port: Where it listens.
        keys: The folder whose secret it asks of whoever takes tasks.
        tls: Its certificates; with them, a node must prove with a registered key who it is.
    """
    program = Path(sysconfig.get_path("scripts")) / "flower-superlink"
    place = ["--host", LOOPBACK, "--port", str(port)]
    state = ["--isolation", "process", "--database", str(home / "superlink.db")]
    secrecy = ["--superexec-auth-secret-file", str(keys / SECRET)] if keys else []
    return [str(program), *place, *state, *secrecy, *_tls_arguments(tls), "--disable-runtime-dependency-installation"]


def superlink_environment(home: Path) -> dict[str, str]:
    """The variables of a SuperLink beside those of this process, which switch Flower's telemetry off."""
    return {"FLWR_HOME": str(home / "flower")}


def _tls_arguments(tls: TLSFiles | None) -> list[str]:
    if tls is None:
        return ["--insecure"]
    files = {"certfile": tls.certificate, "keyfile": tls.key, "ca-certfile": tls.authority}
    return [*(part for name, path in files.items() for part in (f"--ssl-{name}", str(path))), "--enable-supernode-auth"]
