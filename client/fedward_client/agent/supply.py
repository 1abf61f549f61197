"""The frozen weights that runs need: looked for at the site, and fetched from the coordinator where the policy says so.

    a proposal's spec --{name, sha256}--> here already | fetched into <home>/weights/<sha256>.safetensors | a reason

It works in a thread of its own, one run after another, so that neither a large file nor a slow network holds up the
reports. Until it knows, the site leaves the proposal unanswered, which then comes again.
"""

import logging
import math
import threading
import time
from collections.abc import Collection
from pathlib import Path

from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.errors import AgentError, CoordinatorAwayError, NotThereError
from fedward_client.agent.machine import free_disk_bytes
from fedward_client.agent.policy import SitePolicy
from fedward_core.errors import FedwardError
from fedward_core.frozen_weights import GIGABYTE, MOST_GB, Arrival
from fedward_models.frozen import FrozenWeights, is_here

# Decided here: small files come within it, so that most proposals are answered by the report that brings them.
PATIENCE_S = 2.0
# Decided here: the largest file over a line of 10 Mbit/s.
LONGEST_S = 2 * 3600.0

log = logging.getLogger(__name__)


class Supply:
    """The frozen weights of one site.

    Args:
        folder: Where fetched files are kept; made when the first one comes.
        coordinator: Whom to fetch them from.
    """

    def __init__(self, folder: Path, coordinator: Coordinator) -> None:
        self._folder = folder
        self._coordinator = coordinator
        self._errand: _Errand | None = None

    def reason(self, run: str, wanted: tuple[FrozenWeights, ...], policy: SitePolicy, until_s: float) -> str | None:
        """Why the site cannot have what a run needs; empty if it has it, None while that is not known.

        Args:
            run: The run's id.
            wanted: What its spec names.
            policy: Says whether files may be fetched.
            until_s: When the run goes on without the site.
        """
        if not wanted:
            return ""
        errand = self._errand
        if errand is None or (errand.is_over and not errand.serves(run)):
            errand = self._errand = _Errand(run, _Files(self._folder, self._coordinator, policy), wanted)
        if not errand.serves(run):
            return None
        errand.until_s = until_s
        errand.wait(PATIENCE_S)
        if errand.is_over:
            self._errand = None
        return errand.reason

    def drop_all_but(self, runs: Collection[str]) -> None:
        """Stop fetching for a run that asks no more, as it was cancelled or paused.

        One that has gone on without the site may be submitted or resumed again, and then finds what has come meanwhile.
        """
        errand = self._errand
        if errand is None or errand.run in runs:
            return
        if errand.is_over:
            self._errand = None  # what it found may have changed when the run asks again
        elif time.time() < errand.until_s:
            errand.stop.set()

    def close(self) -> None:
        """Stop fetching."""
        if self._errand is not None:
            self._errand.stop.set()
            self._errand.wait(PATIENCE_S)


class _Errand:
    """Looks for the files of one run, from its making on.

    Attributes:
        run: The run's id.
        until_s: When the run goes on without the site.
        stop: Set to end it; what it then says is no answer.
        reason: Why the site lacks a file; empty if it has all, None while that is not known, or is to be tried again.
    """

    def __init__(self, run: str, files: "_Files", wanted: tuple[FrozenWeights, ...]) -> None:
        self.run = run
        self.until_s = math.inf
        self.stop = threading.Event()
        self.reason: str | None = None
        self._thread = threading.Thread(target=self._work, args=(files, wanted), name="weights", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def serves(self, run: str) -> bool:
        return self.run == run and not self.stop.is_set()

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _work(self, files: "_Files", wanted: tuple[FrozenWeights, ...]) -> None:
        try:
            self.reason = next((reason for one in wanted if (reason := files.reason(one, self.stop))), "")
        except CoordinatorAwayError as error:
            log.warning("run %r: frozen weights could not be fetched, and are tried again: %s", self.run, error)
        except Exception:
            log.exception("a fault of the agent itself, which goes on")
            self.reason = "the site's agent cannot look for the run's frozen weights: its own log says why"


class _Files:
    """The site's files, under the policy of a moment."""

    def __init__(self, folder: Path, coordinator: Coordinator, policy: SitePolicy) -> None:
        self._folder = folder
        self._coordinator = coordinator
        self._policy = policy

    def reason(self, wanted: FrozenWeights, stop: threading.Event) -> str:
        """Why the site lacks one file; empty if it has it, perhaps from now on."""
        if is_here(wanted, self._folder):
            return ""
        lacks = f"the site lacks {_named(wanted)}"
        if not self._policy.fetch_weights:
            return f"{lacks}, and its policy fetches none: place the file there, or set fetch_weights in its site.yaml"
        try:
            self._fetch(wanted, stop)
        except CoordinatorAwayError:
            raise
        except NotThereError:
            return f"{lacks}, and the coordinator has no weights with this digest: add them by `fedward weights add`"
        except FedwardError as error:
            return f"{lacks}, and could not fetch it: {error}"
        log.info("fetched %s", _named(wanted))
        return ""

    def _fetch(self, wanted: FrozenWeights, stop: threading.Event) -> None:
        started_s = time.monotonic()
        with (
            self._coordinator.weights(wanted.sha256) as (size, pieces),
            Arrival(self._folder, wanted.sha256) as arrival,
        ):
            self._check_room(size or 0)
            for piece in pieces:
                arrival.add(piece)
                self._check_size(arrival.size)
                if stop.is_set():
                    raise AgentError("the run asks for it no more")
                if time.monotonic() - started_s > LONGEST_S:
                    raise AgentError(f"it took longer than {LONGEST_S / 3600:.0f} hours")
            arrival.keep()

    def _check_size(self, size: int) -> None:
        if size > MOST_GB * GIGABYTE:
            raise AgentError(f"it is larger than {MOST_GB:g} GB")

    def _check_room(self, size: int) -> None:
        self._check_size(size)
        least = self._policy.min_free_disk_gb * GIGABYTE
        if free_disk_bytes(self._folder) - size < least:
            raise AgentError(f"it has {size} bytes, and the site's disk would have too little room left")


def _named(wanted: FrozenWeights) -> str:
    return f"the frozen weights '{wanted.name}' (sha256 {wanted.sha256})"
