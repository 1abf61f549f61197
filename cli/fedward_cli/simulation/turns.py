"""A job of a site gives way to federations: at moments that suit it, it lets orders that wait go first."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedward_core.events import Event, EventKind, Listener


@contextmanager
def taking_turns(listen: Listener) -> Iterator[Listener]:
    """Hold the site's slot while the block lasts, where this process is a job.

    Args:
        listen: Who hears the events.

    Yields:
        A listener that gives way after every round.
    """
    with holding_slot() as give_way:

        def hear(event: Event) -> None:
            listen(event)
            if event.kind is EventKind.ROUND_FINISHED:
                give_way()

        yield hear


@contextmanager
def holding_slot() -> Iterator[Callable[[], None]]:
    """Hold the site's slot while the block lasts, where the environment names one; elsewhere nothing is shared.

    Yields:
        Lets every order that waits go first, and returns when the slot is held again.
    """
    from fedward_client.jobs.slot import SLOT, Slot  # most commands need no client

    folder = os.environ.get(SLOT)
    if folder is None:
        yield lambda: None
        return
    with Slot(Path(folder)).for_job() as turn:
        yield turn.give_way
