"""Keeps the coordinator's SuperLink running: it outlives a coordinator that was killed, and the next one adopts it.

<home>/superlink.db, flower/     what the SuperLink keeps
<home>/superlink.log             its output
<home>/process.json              which process it is, and its port
<home>/keys/                     what its clients need, see :mod:`fedward_server.flower.connection`
"""

import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from fedward_core.atomic import replacing, write_secret
from fedward_core.config import Frozen
from fedward_core.errors import CheckpointError
from fedward_core.loopback import LOOPBACK, free_port
from fedward_core.processes.launching import end_service, start_service
from fedward_core.processes.process import Process
from fedward_server.flower.connection import AUTHORITY, SECRET, STARTED, Connection
from fedward_server.flower.control import FlowerControl, Node
from fedward_server.flower.superlink import (
    POLL_S,
    START_TIMEOUT_S,
    SuperLinkError,
    superlink_command,
    superlink_environment,
)
from fedward_server.tls import TLSFiles

RECORD, KEYS = "process.json", "keys"


class StartedSuperLink(Frozen):
    """The SuperLink of a home folder that was started last.

    Attributes:
        process: Its process, alive or not.
        port: Where it listens; its successors do, too.
    """

    process: Process
    port: int

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """What the home folder tells of it; None before the first start."""
        try:
            return cls.model_validate_json((home / RECORD).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, home: Path) -> None:
        """Let the home folder tell."""
        with replacing(home / RECORD) as temporary:
            temporary.write_text(self.model_dump_json(), encoding="utf-8")

    def connection(self, home: Path) -> Connection:
        """How it is reached, with the keys that lie in its home folder."""
        return Connection(address=f"{LOOPBACK}:{self.port}", keys=home / KEYS)


class SuperLinkKeeper:
    """Starts, adopts, restarts and ends the one SuperLink of a home folder. Every call may be made from any thread.

    Args:
        home: Its folder, which is nobody else's.
        tls: The SuperLink's certificates, valid for 127.0.0.1; with them, only registered nodes are let in.
    """

    def __init__(self, home: Path, *, tls: TLSFiles | None = None) -> None:
        self._home = home
        self._tls = tls
        self._lock = threading.Lock()

    @property
    def keys(self) -> Path:
        """The folder that clients of the SuperLink are given with its address."""
        return self._home / KEYS

    def ensure(self) -> str:
        """Start the SuperLink, adopt the one that lives, or restart one that died, with its database and on its port.

        Returns:
            Its address, ``host:port``, once it is healthy.

        Raises:
            SuperLinkError: It does not start, or not in time.
            CheckpointError: The home folder cannot be written to; no SuperLink is left that it does not tell of.
        """
        with self._lock:
            kept = self._kept()
            if kept is None or not self._becomes_healthy(kept):
                kept = self._start(free_port() if kept is None else kept.port)
                if not self._becomes_healthy(kept):
                    raise SuperLinkError("the SuperLink does not start, or does not answer: its log says why")
            return kept.connection(self._home).address

    def register(self, site: str, public_key_pem: bytes) -> str:
        """Let a site's node in, and no other of its name; a key that the site has registered already is fine.

        Args:
            site: The site's name, which its node bears from now on.
            public_key_pem: Its public key, of a NIST elliptic curve.

        Returns:
            The node's id.

        Raises:
            RunRefusedError: The key is of another kind.
            UsedKeyError: It was registered before, for another site or for one that was revoked.
            SuperLinkAwayError: The SuperLink does not answer.
        """
        with self._control() as control:
            nodes = _nodes_of(control, site)
            own = next((node.id for node in nodes if node.public_key == public_key_pem), None)
            for node in nodes:
                if node.id != own:  # of a site that was revoked while the SuperLink was away
                    control.unregister_node(node.id)
            return str(control.register_node(public_key_pem, site) if own is None else own)

    def sites(self) -> frozenset[str]:
        """The names of all registered nodes.

        Raises:
            SuperLinkAwayError: The SuperLink does not answer.
        """
        with self._control() as control:
            return frozenset(node.name for node in control.nodes() if node.name)

    def forget(self, site: str) -> None:
        """Let a site's nodes in no more; its keys can never be registered again. To forget a stranger is fine."""
        with self._control() as control:
            for node in _nodes_of(control, site):
                control.unregister_node(node.id)

    def end(self) -> None:
        """End the SuperLink; its database stays. To end what has ended is fine."""
        with self._lock:
            kept = self._kept()
            if kept is not None:
                end_service(kept.process)

    def _control(self) -> FlowerControl:
        return FlowerControl(Connection(address=self.ensure(), keys=self.keys))

    def _kept(self) -> StartedSuperLink | None:
        return StartedSuperLink.read(self._home)

    def _start(self, port: int) -> StartedSuperLink:
        self._write_keys()
        process = start_service(
            superlink_command(self._home, port, keys=self.keys, tls=self._tls),
            log=self._home / "superlink.log",
            environment=superlink_environment(self._home),
        )
        started = StartedSuperLink(process=process, port=port)
        try:
            started.write(self._home)
        except CheckpointError:  # one that nobody knows of would hold port and database for ever
            end_service(process)
            raise
        return started

    def _write_keys(self) -> None:
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = self.keys / SECRET
        if not secret.exists():
            write_secret(secret, secrets.token_hex(32).encode())
        with replacing(self.keys / STARTED) as temporary:
            temporary.write_text(str(time.time_ns()), encoding="utf-8")
        (self.keys / AUTHORITY).unlink(missing_ok=True)
        if self._tls is not None:
            shutil.copyfile(self._tls.authority, self.keys / AUTHORITY)

    def _becomes_healthy(self, kept: StartedSuperLink) -> bool:
        """Wait until a SuperLink answers; one that lives and does not is ended."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while kept.process.is_alive and time.monotonic() < deadline:
            if kept.connection(self._home).healthy():
                return True
            time.sleep(POLL_S)
        end_service(kept.process)
        return False


def _nodes_of(control: FlowerControl, site: str) -> list[Node]:
    return [node for node in control.nodes() if node.name == site]
