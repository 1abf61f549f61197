"""Reports to the coordinator every few seconds, publishes cards and answers proposals, by the site's own policy.

    heartbeat  -->  coordinator  -->  instructions: proposals | ended runs | send cards | active

It works in a thread of its own, so that a slow network holds up no client app. While the coordinator is away it waits
longer and longer, and everything at the site goes on.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.consents import Consents
from fedward_client.agent.coordinator import Coordinator, in_one_line
from fedward_client.agent.counting import Counting
from fedward_client.agent.errors import CoordinatorAwayError, RefusedError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.machine import free_disk_bytes, gpu_names, versions
from fedward_client.agent.permissions import Permissions
from fedward_client.agent.rules import UNREADABLE, Terms, refusal
from fedward_client.agent.supply import PATIENCE_S, Supply
from fedward_core.errors import FedwardError, SpecError
from fedward_core.fleet_messages import Answer, Heartbeat, Instructions, Proposal
from fedward_core.packages import installed_packages
from fedward_core.spec import Spec
from fedward_models.frozen import frozen_in

# Decided here: a coordinator that comes back is noticed within a minute.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
# Flower refuses calls that are signed more than 5 s ahead of, or 305 s behind, the SuperLink's clock.
CLOCK_OFF_S = 5.0
# Decided here: a report looks for frozen weights before it answers, and may be as long again on its way.
SLACK_S = 2 * PATIENCE_S

T = TypeVar("T")

log = logging.getLogger(__name__)


class Reporter:
    """Speaks for one site.

    Args:
        home: The agent's folder.
        coordinator: Whom to report to.
        permissions: What the site allows.
        catalogue: Its datasets.

    Attributes:
        runs: Runs whose client apps are at work; whoever starts them keeps this up to date.
    """

    def __init__(
        self, home: AgentHome, coordinator: Coordinator, permissions: Permissions, catalogue: Catalogue
    ) -> None:
        self._home = home
        self._coordinator = coordinator
        self._permissions = permissions
        self._catalogue = catalogue
        self._counting = Counting(catalogue)
        self._supply = Supply(home.weights, coordinator)
        self._consents = Consents(home.consents)
        self._heard: SimpleQueue[Instructions] = SimpleQueue()
        self._agreed: SimpleQueue[Proposal] = SimpleQueue()
        self._pause_s = 0.0  # the last pause after a report that failed
        self._cards_pause_s = 0.0  # the last pause after cards that could not be published
        self._cards_due_s = 0.0
        self._reviewed: object = None  # what all consents were held against last
        self.runs: tuple[str, ...] = ()

    def run(self, stop: threading.Event) -> None:
        """Report until told to stop."""
        pause_s = 0.0
        while not stop.wait(pause_s):
            pause_s = self.step()
        self._supply.close()

    def step(self) -> float:
        """Report once, and do what follows from the reply. A fault is logged and tried again: the site goes on.

        Only a report that failed puts off the next: a site that reports is not offline, whatever else it cannot do.

        Returns:
            Seconds until the next report; never more than a minute, whatever the coordinator asks for, as the site
            reviews its consents with every report.
        """
        try:
            instructions = self._report()
        except FedwardError as error:
            return self._wait_longer(error)
        except Exception:
            log.exception("a fault of the agent itself, which goes on")
            return self._longer_pause()
        if self._pause_s:
            log.info("the coordinator answers again")
        self._pause_s = 0.0
        return min(instructions.interval_s, LONGEST_PAUSE_S)

    def heard(self) -> Iterator[Instructions]:
        """The instructions that have come since the last call, in order; each once."""
        return _emptied(self._heard)

    def agreed(self) -> Iterator[Proposal]:
        """The proposals that were agreed to since the last call, in order; each once."""
        return _emptied(self._agreed)

    def _report(self) -> Instructions:
        terms = self._permissions.terms()
        if terms is not None:
            self._review_consents(terms)
            self._counting.refresh(terms.policy.datasets)
        else:
            self._end(*self.runs)
        heartbeat = Heartbeat(
            versions=versions(),
            free_disk_bytes=free_disk_bytes(self._home.path),
            gpus=gpu_names(terms.policy.gpus) if terms else (),
            clock_s=time.time(),
            cards_digest=self._catalogue.cards.digest,
            approved=tuple(sorted(terms.approved)) if terms else (),
            runs=self.runs,
        )
        instructions = self._coordinator.report(heartbeat)
        self._heard.put(instructions)  # first: a run that is over ends here, whatever becomes of the rest
        self._warn_of_clock()
        self._supply.drop_all_but({proposal.run for proposal in instructions.proposals})
        self._act_on(instructions)
        return instructions

    def _act_on(self, instructions: Instructions) -> None:
        """Do all that is asked for. What cannot be done, as a consent that cannot be written, holds up nothing else."""
        acts: list[Callable[[], None]] = [
            partial(self._answer, proposal, instructions.interval_s) for proposal in instructions.proposals
        ]
        if instructions.send_cards and self._catalogue.cards.digest:  # else they are still being made
            acts.append(self._publish)
        for act in acts:
            try:
                act()
            except CoordinatorAwayError as error:
                log.warning("%s; what else it asked for is left to the next report", error)
                return
            except FedwardError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("a fault of the agent itself, which goes on")

    def _publish(self) -> None:
        """Publish the cards. Those that were refused are likely to be so again, and are tried later and later."""
        if time.monotonic() < self._cards_due_s:
            return
        try:
            self._coordinator.publish(self._catalogue.cards)
        except FedwardError:
            self._cards_pause_s = _longer(self._cards_pause_s)
            self._cards_due_s = time.monotonic() + self._cards_pause_s
            raise
        self._cards_pause_s = 0.0

    def _answer(self, proposal: Proposal, interval_s: float) -> None:
        """Say yes or no, or nothing yet. A consent is kept before it is told, so that the first order already finds it.

        A proposal without an answer comes again with the next report, as long as the run asks.
        """
        reason = self._refusal(proposal)
        if reason is None and proposal.expires_s - time.time() < interval_s + SLACK_S:
            reason = "the site is still fetching the run's frozen weights: submit or resume it once they are there"
        if reason is None:
            return
        if not reason:
            self._consents.give(proposal)
            self._reviewed = None  # the policy may have been another one when it was judged
            self._agreed.put(proposal)
        log.info("run %r: %s", proposal.run, reason or "the site takes part")
        self._tell(proposal, reason)

    def _refusal(self, proposal: Proposal) -> str | None:
        """Why the site does not take part; empty if it does, None while its frozen weights are looked for.

        One run that cannot be judged holds up no other.
        """
        try:
            return self._permissions.refusal(proposal) or self._lack(proposal)
        except Exception:
            log.exception("run %r cannot be judged, and is refused", proposal.run)
            return "the site's agent cannot judge the run: its own log says why"

    def _lack(self, proposal: Proposal) -> str | None:
        """Why the site lacks frozen weights that a run needs; empty if it has them, None while that is not known."""
        terms = self._permissions.terms()
        if terms is None:
            return UNREADABLE
        wanted = frozen_in(Spec.parse(proposal.spec))
        return self._supply.reason(proposal.run, wanted, terms.policy, proposal.expires_s)

    def _review_consents(self, terms: Terms) -> None:
        """Withdraw consents that today's policy would not give; one that cannot be read withdraws nothing.

        Sites gather consents over years, so they are only judged again when something has changed by which they are.
        """
        grounds = (terms, _installed())
        if grounds == self._reviewed:
            return
        for proposal in self._consents.all():
            reason = refusal(proposal, terms, free_disk_bytes=math.inf)
            if reason:
                self._consents.withdraw(proposal.run)
                self._end(proposal.run)
                log.warning("run %r: the site takes part no longer: %s", proposal.run, reason)
                self._tell(proposal, reason)
        self._reviewed = grounds

    def _end(self, *runs: str) -> None:
        """Have client apps ended by the site's own will, as if it had been asked to."""
        self._heard.put(Instructions(interval_s=FIRST_PAUSE_S, ended=runs))

    def _tell(self, proposal: Proposal, reason: str) -> None:
        """Tell the answer. A reason may quote the run's own words, which may be of any length and any signs."""
        answer = Answer(run=proposal.run, takes_part=not reason, reason=in_one_line(reason))
        try:
            self._coordinator.answer(answer)
        except RefusedError as error:  # the run has ended, or is past asking
            log.info("run %r: the coordinator did not take the answer: %s", answer.run, str(error))

    def _warn_of_clock(self) -> None:
        off_s = self._coordinator.clock_off_s
        if off_s is not None and abs(off_s) > CLOCK_OFF_S:
            log.warning("this machine's clock is %.0f s off the coordinator's: set it by a time server", off_s)

    def _wait_longer(self, error: FedwardError) -> float:
        is_first = not self._pause_s
        pause_s = self._longer_pause()
        if is_first or not isinstance(error, CoordinatorAwayError):
            log.warning("%s; the next report is in %.0f s", error, pause_s)
        return pause_s

    def _longer_pause(self) -> float:
        self._pause_s = _longer(self._pause_s)
        return self._pause_s


def _longer(pause_s: float) -> float:
    return min(2 * pause_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S


def _installed() -> object:
    """The code of other packages that is here; what is wrong with it, where that cannot be told."""
    try:
        return installed_packages()
    except SpecError as error:
        return str(error)


def _emptied(queue: SimpleQueue[T]) -> Iterator[T]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
