"""What a coordinator tells of a run: followed while it happens, and gathered into its results."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from fedward_cli.display.consoles import errors, tell
from fedward_cli.display.progress import shown
from fedward_cli.network.connection import path_of
from fedward_cli.simulation.results import Results, gather
from fedward_core.errors import RoundError
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from fedward_cli.network.coordinator import Coordinator

# Decided here: a coordinator that is started again answers long before that.
AWAY_S = 60.0
RETRY_S = 1.0
PAGE = 10_000  # the most that one answer holds


def follow_to_the_end(coordinator: "Coordinator", run: str) -> None:
    """Show a run while it happens.

    Raises:
        RoundError: It ended otherwise than completed.
        CoordinatorError: The coordinator is away for long, or refuses.
    """
    found = coordinator.get(path_of("runs", run))
    with shown(errors(), Spec.parse(found["spec"]), len(found["sites"])) as listen:
        _follow(coordinator, run, listen)
    ended = coordinator.get(path_of("runs", run))
    if ended["state"] != "completed":
        raise RoundError(f"run '{run}' is {ended['state']}: {ended['reason']}")


def fetch_results(coordinator: "Coordinator", run: str) -> Results:
    """What a run has to show so far.

    Raises:
        CoordinatorError: The coordinator is away, or there is no such run.
    """
    return gather(event for told in _told(coordinator, run) if (event := event_of(told)) is not None)


def event_of(told: dict[str, Any]) -> Event | None:
    """An event of the run itself; None for one of the coordinator's own, such as a move between states."""
    if told["kind"] not in set(EventKind):
        return None
    return Event.model_validate({key: value for key, value in told.items() if key != "sequence"})


def _told(coordinator: "Coordinator", run: str) -> Iterator[dict[str, Any]]:
    seen = 0
    while page := coordinator.get(path_of("runs", run, "events"), after=seen, limit=PAGE):
        yield from page
        seen = page[-1]["sequence"]


def _follow(coordinator: "Coordinator", run: str, listen: Callable[[Event], None]) -> None:
    """Tell every event once, over as many connections as it takes while the coordinator is away and comes back."""
    from fedward_cli.network.coordinator import UnreachableError  # httpx is slow to import

    seen = 0
    while True:
        try:
            for told in coordinator.events(run, seen):
                seen = told["sequence"]
                _tell(told, listen)
        except UnreachableError:
            _wait_for(coordinator, run)
        else:
            return


def _wait_for(coordinator: "Coordinator", run: str) -> None:
    """Wait for a coordinator that went away; how long the run was silent before does not count.

    Raises:
        UnreachableError: It does not come back.
    """
    from fedward_cli.network.coordinator import UnreachableError

    deadline = time.monotonic() + AWAY_S
    while True:
        time.sleep(RETRY_S)
        try:
            coordinator.get(path_of("runs", run))
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def _tell(told: dict[str, Any], listen: Callable[[Event], None]) -> None:
    event = event_of(told)
    if event is not None:
        listen(event)
    elif reason := told["facts"].get("reason"):
        tell(escape(f"{told['site'] or told['facts'].get('to', told['kind'])}: {reason}"))
