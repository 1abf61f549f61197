"""The agent of one site: it keeps a SuperNode running, and decides what the SuperNode may have run.

SuperLink  <--  SuperNode (a process of Flower's)  <--  agent, its SuperExec  -->  warm helper  -->  client apps
"""

import sys
import threading

from fedward_client.agent.settings import AgentSettings
from fedward_client.flower.app_settings import AppSettings
from fedward_client.flower.superexec import SuperExec
from fedward_client.flower.warm_helper import WarmHelper
from fedward_client.pace import Pace
from fedward_core.processes import LOOPBACK, Child, end_child, free_port, start_child

RESTART_AFTER_S = 5.0  # Flower lets a node that crashed come back after 60 s at the latest; one without a key at once


class SiteAgent:
    """Runs until it is told to stop; then every process of it has ended.

    Args:
        settings: What the hospital has decided.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._port = free_port()
        self._pace = Pace()

    def run(self, stop: threading.Event) -> None:
        """Serve the site.

        Args:
            stop: Ends the service when set.
        """
        settings = AppSettings(site=self._settings.site, data=self._settings.data, private=self._settings.private)
        helper = WarmHelper(settings, home=self._settings.home)
        superexec = SuperExec(
            self._settings.site,
            f"{LOOPBACK}:{self._port}",
            approvals=self._settings,
            launcher=helper,
            notes=self._settings.home / "work",
        )
        node = self._start_node()
        try:
            while not stop.wait(self._pace.pause_s):
                if node.poll() is not None:
                    node = self._restart_node(node, stop)
                if superexec.step():
                    self._pace.worked()
        finally:
            superexec.close()
            helper.close()
            end_child(node)

    def _restart_node(self, node: Child, stop: threading.Event) -> Child:
        end_child(node)
        stop.wait(RESTART_AFTER_S)
        return self._start_node()

    def _start_node(self) -> Child:
        place = ["--host", LOOPBACK, "--port", str(self._port), "--isolation", "process"]
        link = ["--insecure", "--superlink", self._settings.superlink]
        return start_child(
            [sys.executable, "-m", "fedward_client.flower.supernode", *place, *link],
            log=self._settings.home / "supernode.log",
            environment={"FLWR_HOME": str(self._settings.home / "flower")},
        )
