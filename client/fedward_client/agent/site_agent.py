"""The working half of an agent: it keeps a SuperNode running, and decides what the SuperNode may have run.

SuperLink  <--  SuperNode (a process of Flower's)  <--  agent, its SuperExec  -->  warm helper  -->  client apps
"""

import secrets
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from fedward_client.agent.home import AgentHome
from fedward_client.agent.node import Link, SuperNode
from fedward_client.agent.user import hand_over
from fedward_client.flower.app_settings import AppSettings
from fedward_client.flower.superexec import Approvals, SuperExec
from fedward_client.flower.warm_helper import WarmHelper
from fedward_client.jobs.slot import Slot
from fedward_client.pace import Pace
from fedward_core.atomic import write_secret
from fedward_core.loopback import LOOPBACK, free_port
from fedward_core.spec import Spec

SECRET = "superexec.secret"  # noqa: S105 - the name of a file


class SiteAgent:
    """Serves one site; a context manager that starts its processes and ends every one of them.

    Args:
        settings: What client apps are told.
        link: How the site reaches its SuperLink.
        home: Holds logs, and what Flower keeps.
        approvals: Which apps may run.
        environment: Variables of client apps beside those of this process.
    """

    def __init__(
        self,
        settings: AppSettings,
        *,
        link: Link,
        home: Path,
        approvals: Approvals,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._link = link
        self._home = home
        self._approvals = approvals
        self._environment = environment
        self._stack = ExitStack()
        self.pace = Pace()

    def step(self) -> None:
        """Look after the SuperNode, and take one task if there is one."""
        self._node.keep()
        if self._superexec.step():
            self.pace.worked()

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop."""
        while not stop.wait(self.pace.pause_s):
            self.step()

    @property
    def runs(self) -> tuple[str, ...]:
        """Runs whose client apps are at work."""
        return self._superexec.runs()

    def prepare(self, spec: Spec) -> None:
        """Have everything at hand that a run will need."""
        self._helper.prepare(spec)

    def end_run(self, run: str) -> None:
        """End the client apps of a run; to end what has ended is fine."""
        self._superexec.end_run(run)

    def __enter__(self) -> Self:
        port, secret = free_port(), secrets.token_hex(32).encode()
        self._home.mkdir(parents=True, exist_ok=True)
        write_secret(self._home / SECRET, secret)
        self._helper = WarmHelper(self._settings, home=self._home, environment=self._environment)
        self._stack.callback(self._helper.close)
        self._superexec = SuperExec(
            self._settings.site,
            f"{LOOPBACK}:{port}",
            approvals=self._approvals,
            launcher=self._helper,
            notes=self._home / "work",
            secret=secret,
        )
        self._stack.callback(self._superexec.close)
        if self._settings.run_as:
            self._hand_over()
        self._node = SuperNode(self._link, port=port, home=self._home, secret=self._home / SECRET)
        self._stack.callback(self._node.end)
        return self

    def _hand_over(self) -> None:
        """Let client apps, which run as another user, at what they need."""
        own = [self._settings.private, self._home / "work", self._home / "flower"]
        if self._settings.slot is not None:
            Slot(self._settings.slot).make()
            own.append(self._settings.slot)
        read = [folder for folder in (self._settings.consents, self._settings.data) if folder is not None]
        home = AgentHome(self._home)
        if not home.weights.is_symlink():  # what a link leads to may be for others, too
            read.append(home.weights)
        closed = [home.policy, home.approvals, home.membership, home.key, home.jobs, *self._home.glob("*.log")]
        hand_over(self._home, self._settings.run_as, own=own, read=read, closed=closed)

    def __exit__(self, *_: object) -> None:
        self._stack.close()
