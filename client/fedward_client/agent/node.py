"""Keeps the site's SuperNode running: Flower's client process, which dials out to the SuperLink and polls it.

A SuperNode that crashed may not come back at once: the SuperLink holds its place for up to a minute, in which the new
one ends with the same code as one that is not registered. So it is started again, later and later, and for ever.
"""

import logging
import sys
import time
from pathlib import Path

from fedward_core.config import Frozen
from fedward_core.loopback import LOOPBACK
from fedward_core.processes.launching import Child, end_child, start_child

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 60.0
STEADY_S = 60.0  # one that lived so long was well, and its end is a new story

log = logging.getLogger(__name__)


class Link(Frozen):
    """How a SuperNode reaches its SuperLink.

    Attributes:
        superlink: ``host:port``.
        tls: Whether to speak TLS.
        authority: The certificate of the authority that signed the SuperLink's; None for the system's authorities.
        key: The site's private key, where nodes prove who they are.
    """

    superlink: str
    tls: bool = False
    authority: Path | None = None
    key: Path | None = None

    def arguments(self) -> list[str]:
        """The SuperNode's arguments."""
        link = ["--superlink", self.superlink]
        trust = ["--root-certificates", str(self.authority)] if self.authority else []
        identity = ["--auth-supernode-private-key", str(self.key)] if self.key else []
        return [*link, *(trust if self.tls else ["--insecure"]), *identity]


class SuperNode:
    """A SuperNode process that is started anew when it ends.

    Args:
        link: How it reaches its SuperLink.
        port: Where its Runtime API listens, on loopback.
        home: The agent's folder, for its log and what Flower keeps.
        secret: The file with what it asks of whoever takes its tasks: every process of the machine reaches that port.
    """

    def __init__(self, link: Link, *, port: int, home: Path, secret: Path) -> None:
        self._link = link
        self._port = port
        self._home = home
        self._secret = secret
        self._pause_s = FIRST_PAUSE_S
        self._due: float | None = None
        self._child = self._start()

    @property
    def pid(self) -> int:
        """The process id of the newest one."""
        return self._child.pid

    def keep(self) -> None:
        """Look after the process: to be called every now and then."""
        code = self._child.poll()
        if code is None:
            return
        now = time.monotonic()
        if self._due is None:
            steady = now - self._started > STEADY_S
            self._pause_s = FIRST_PAUSE_S if steady else self._pause_s
            self._due = now + self._pause_s
            log.warning("the SuperNode ended (code %d): another starts in %.0f s", code, self._pause_s)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        elif now >= self._due:
            end_child(self._child)
            self._child = self._start()

    def end(self) -> None:
        """End it, in order: then the SuperLink lets the next one in at once."""
        end_child(self._child)

    def _start(self) -> Child:
        self._due = None
        self._started = time.monotonic()
        place = ["--host", LOOPBACK, "--port", str(self._port), "--isolation", "process"]
        secrecy = ["--superexec-auth-secret-file", str(self._secret)]
        return start_child(
            [sys.executable, "-m", "fedward_client.flower.supernode", *place, *secrecy, *self._link.arguments()],
            log=self._home / "supernode.log",
            environment={"FLWR_HOME": str(self._home / "flower")},
        )
