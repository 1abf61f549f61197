"""The agent as a service: what the hospital's engineer installs, and what runs by itself from then on.

    main thread      SuperNode and client apps, as the instructions say, and the site's own jobs
    second thread    reports to the coordinator, publishes cards, answers proposals
    third thread     has cards made of datasets that have changed, while there are any
    fourth thread    looks for frozen weights that a proposal needs, and fetches them, while there is one

Each tells the others what they must know by a queue or by one value that is replaced as a whole.
"""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.machine import visible_devices
from fedward_client.agent.membership import Enrolled, authority_of, read_enrolled
from fedward_client.agent.node import Link
from fedward_client.agent.permissions import Permissions
from fedward_client.agent.policy import read_policy
from fedward_client.agent.reporter import Reporter
from fedward_client.agent.site_agent import SiteAgent
from fedward_client.agent.user import check_user
from fedward_client.flower.app_settings import AppSettings
from fedward_client.jobs.runner import JobRunner
from fedward_core.fleet_messages import Instructions
from fedward_core.spec import Spec
from fedward_models.frozen import folders_with

REPORTER_PATIENCE_S = 5.0  # it may be waiting for an answer of the coordinator's

log = logging.getLogger(__name__)


def serve(home: AgentHome) -> None:
    """Serve the site of a home folder until SIGTERM or Ctrl-C.

    Raises:
        AgentError: The site is not enrolled, its policy cannot be read, or another agent uses the folder.
        KeyboardInterrupt: It was Ctrl-C, and every process has ended.
    """
    with home.claimed():
        agent = AgentService(home)
        stop, numbers = threading.Event(), list[int]()

        def end(number: int, _frame: object) -> None:
            numbers.append(number)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        _log_to_standard_error()
        agent.run(stop)
    if signal.SIGINT in numbers:
        raise KeyboardInterrupt


class AgentService:
    """One site's service.

    Args:
        home: The agent's folder, claimed.

    Raises:
        AgentError: The site is not enrolled, its key or its policy cannot be read, or a setting has no effect here.
    """

    def __init__(self, home: AgentHome) -> None:
        self._home = home
        self._enrolled = read_enrolled(home)
        self._policy = read_policy(home.policy)
        if self._policy.run_as:
            check_user(self._policy.run_as)
        self._permissions = Permissions(home, SiteKey.read(home.key), tls=self._enrolled.tls)

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop; then every process has ended."""
        log.info("site '%s' serves %s", self._enrolled.membership.site, self._enrolled.url)
        with self._reporting() as reporter, self._agent() as agent, closing(self._jobs()) as jobs:
            while not stop.wait(agent.pace.pause_s):
                agent.step()
                jobs.step()
                reporter.runs = agent.runs
                for proposal in reporter.agreed():
                    agent.prepare(Spec.parse(proposal.spec))
                for instructions in reporter.heard():
                    _obey(agent, instructions)
        log.info("the agent has ended, and every process of it")

    def _agent(self) -> SiteAgent:
        settings = AppSettings(
            site=self._enrolled.membership.site,
            data=self._home.catalogue,
            by_dataset=True,
            private=self._home.private,
            consents=self._home.consents,
            slot=self._home.slot,
            run_as=self._policy.run_as,
        )
        return SiteAgent(
            settings,
            link=_link(self._home, self._enrolled),
            home=self._home.path,
            approvals=self._permissions,
            environment=self._environment(),
        )

    def _jobs(self) -> JobRunner:
        return JobRunner(self._home, self._enrolled.membership.site, self._environment())

    def _environment(self) -> dict[str, str]:
        """Of whatever trains here."""
        return {**visible_devices(self._policy.gpus), **folders_with(self._home.weights)}

    @contextmanager
    def _reporting(self) -> Iterator[Reporter]:
        """A reporter that is at work while the block lasts."""
        membership, stop = self._enrolled.membership, threading.Event()
        catalogue = Catalogue(self._home.catalogue, membership.site, log=self._home.path / "cards.log")
        with ExitStack() as stack:
            coordinator = stack.enter_context(
                Coordinator(self._enrolled.url, key=membership.key, authority=authority_of(self._home))
            )
            reporter = Reporter(self._home, coordinator, self._permissions, catalogue)
            thread = threading.Thread(target=reporter.run, args=(stop,), name="reporter", daemon=True)
            thread.start()
            stack.callback(thread.join, REPORTER_PATIENCE_S)
            stack.callback(stop.set)
            yield reporter


def _obey(agent: SiteAgent, instructions: Instructions) -> None:
    if instructions.active:
        agent.pace.worked()
    for run in instructions.ended:
        agent.end_run(run)


def _link(home: AgentHome, enrolled: Enrolled) -> Link:
    return Link(
        superlink=enrolled.fleet,
        tls=enrolled.tls,
        authority=authority_of(home),
        key=home.key if enrolled.membership.node_authentication else None,
    )


def _log_to_standard_error() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each heartbeat tells nobody anything
