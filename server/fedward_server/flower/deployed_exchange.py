"""The exchange over a SuperLink, whose nodes come and go: what was lost on the way is sent again.

errand  -->  out  -->  answer
              `-->  lost  -->  out      the site's node is there again, or its client app had died for the first time
                      `-->  fault      the site did not come back in time

A site that refuses gives an answer that says so, which the round loop judges by its own rules.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fedward_core.engine import Job
from fedward_core.order import Order, Work
from fedward_server.flower.connection import Connection
from fedward_server.flower.exchange import GridExchange
from fedward_server.flower.patient_grid import Messenger
from fedward_server.flower.roster import CalledRoster, NamedRoster, Roster, Standing, wait_for
from fedward_server.rounds.exchange import Answer, Errand, Loss

POLL_S, LONGEST_POLL_S = 0.1, 1.0  # decided here: short beside a round
LOOKING = 0.25  # decided here: the part of its time in which the SuperLink is asked; each site is a call of a look
LOOK_S = 2.0
# Decided here: by so much messages outlive a round, for answers that were whole in time while that of a slow site was
# waited for; and by no more than a part of it, or a site that returns would find orders of several rounds.
GRACE_S, GRACE = 60.0, 0.25
# As long as Flower may keep a node away that comes back after a crash, and a little.
RETURN_S = 75.0


def pause_after(look_s: float) -> float:
    """How long to wait, after a look that took so long, before the next: the more sites or load, the longer."""
    return min(max(look_s * (1 - LOOKING) / LOOKING, POLL_S), LONGEST_POLL_S)


@dataclass
class _Parcel:
    """An errand that has no answer yet.

    Attributes:
        errand: The errand.
        sent_to: The node that has it; None if nobody has it.
        lost_at: Since when nobody has it, by the monotonic clock.
        apps_died: How often an app died over it.
    """

    errand: Errand
    lost_at: float
    sent_to: Standing | None = None
    apps_died: int = 0


class DeployedExchange:
    """Sends errands through a SuperLink.

    Args:
        grid: The SuperLink's grid.
        job: Whose sites take part; other nodes are left alone, once it is known who they are.
        return_s: How long to wait for a site that is not connected, or not any more.
        bound: Told until when, by the monotonic clock, pieces of an answer may be on their way.
    """

    def __init__(
        self,
        grid: Messenger,
        job: Job,
        *,
        return_s: float = RETURN_S,
        bound: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._grid = grid
        self._bound = bound
        self._job = job
        self._return_s = return_s
        self._roster: Roster | None = None
        self._exchange = GridExchange(grid, {}, poll_s=POLL_S, ttl_s=self._ttl_s)
        self._connection = Connection.of(job)
        self._started = self._connection.started if self._connection else ""
        self._parcels: dict[str, _Parcel] = {}
        self._known: list[Answer] = []
        self._given_up: set[str] = set()
        self._looked = 0.0

    @property
    def _ttl_s(self) -> float:
        deadline_s = self._job.spec.cohort.round_deadline_s
        return deadline_s + min(GRACE * deadline_s, GRACE_S)

    def send(self, errands: Mapping[str, Errand]) -> None:
        """Send each site its errand; the first ones must ask for cards, and are the same for all sites."""
        now = time.monotonic()
        self._parcels |= {site: _Parcel(errand=errand, lost_at=now) for site, errand in errands.items()}
        if self._roster is None:
            self._bound(now + self._return_s)
            self._roster = self._open_roster(next(iter(errands.values())).order)
            wait_for(self._roster, errands, timeout_s=self._return_s, poll_s=POLL_S)
            self._given_up = {site for site in errands if self._roster.standing(site) is None}
            self._take_known_answers(self._roster)
        elif self._given_up:
            self._roster.look()  # it may be back
        self._deliver([site for site in errands if site in self._parcels])

    def receive(self, timeout_s: float) -> Iterator[Answer]:
        """Answers as they come."""
        deadline = time.monotonic() + timeout_s
        self._bound(deadline)
        while self._known:
            yield self._known.pop()
        while self._parcels and (now := time.monotonic()) < deadline:
            waiting = len(self._parcels)
            yield from self._arrived()
            self._look_after_lost()
            yield from self._overdue()
            if len(self._parcels) == waiting:
                time.sleep(pause_after(time.monotonic() - now))
        yield from self._arrived()  # the last look may have waited for one site until the deadline
        self._exchange.forget(*self._parcels)
        self._parcels.clear()

    def _arrived(self) -> Iterator[Answer]:
        """The answers that are there now, but for those that tell of a loss."""
        for answer in self._exchange.arrived():
            if not self._take_back(answer):
                yield answer
            del answer  # or its arrays would be held while the next answer is decoded

    def _open_roster(self, order: Order) -> Roster:
        """Go by names where nodes prove who they are, which they do over TLS only."""
        assert order.work is Work.DESCRIBE
        if self._connection and self._connection.authority:
            return NamedRoster(self._grid)
        return CalledRoster(self._grid, order, self._job.sites, ttl_s=self._ttl_s)

    def _deliver(self, sites: Iterable[str]) -> None:
        """Send the errands of sites that are there."""
        assert self._roster is not None
        standings = {site: self._roster.standing(site) for site in sites}
        there = {site: standing for site, standing in standings.items() if standing}
        for site, standing in there.items():
            self._parcels[site].sent_to = standing
        self._given_up -= there.keys()
        self._exchange.find({site: standing.node for site, standing in there.items()})
        self._exchange.send({site: self._parcels[site].errand for site in there})

    def _take_known_answers(self, roster: Roster) -> None:
        """What sites have answered already, when they were asked who they are."""
        for site in list(self._parcels):
            answer = roster.answer(site)
            if answer is not None:
                self._known.append(answer)
                del self._parcels[site]

    def _take_back(self, answer: Answer) -> bool:
        """Whether an errand was lost and will be sent again; else the answer is the site's last word."""
        parcel = self._parcels[answer.site]
        parcel.apps_died += answer.loss is Loss.APP
        if answer.loss is None or parcel.apps_died > 1:
            del self._parcels[answer.site]
            return False
        parcel.sent_to, parcel.lost_at = None, time.monotonic()
        return True

    def _look_after_lost(self) -> None:
        """Send again what its node has lost. A node that was started anew has lost what its predecessor had."""
        if time.monotonic() - self._looked < LOOK_S or not self._parcels:
            return
        assert self._roster is not None
        self._roster.look()
        self._looked = time.monotonic()
        self._send_once_more_after_restart()
        self._deliver(
            [
                site
                for site, parcel in self._parcels.items()
                if self._roster.standing(site) not in (None, parcel.sent_to)
            ]
        )

    def _send_once_more_after_restart(self) -> None:
        """A SuperLink that was killed may have given a message out to nobody, and counts it as delivered."""
        if self._connection is None or self._connection.started == self._started:
            return
        self._started = self._connection.started
        out = {site: parcel.errand for site, parcel in self._parcels.items() if parcel.sent_to}
        self._exchange.send(out, once_more=True)

    def _overdue(self) -> Iterator[Answer]:
        """Faults of sites that did not come back; one that was given up before is not waited for again."""
        now = time.monotonic()
        for site, parcel in list(self._parcels.items()):
            patience_s = 0.0 if site in self._given_up else self._return_s
            if parcel.sent_to is None and now - parcel.lost_at >= patience_s:
                self._given_up.add(site)
                del self._parcels[site]
                yield _absent(site)


def _absent(site: str) -> Answer:
    return Answer(site=site, fault="it is not connected, or its client app does not start; its agent's log says why")
