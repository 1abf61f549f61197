"""A job of a site gives way to federations: between two rounds it lets orders that wait go first."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedward_core.events import Event, EventKind, Listener


@contextmanager
def taking_turns(listen: Listener) -> Iterator[Listener]:
    """Hold the site's slot while the block lasts, where the environment names one; elsewhere nothing is shared.

    Args:
        listen: Who hears the events.

    Yields:
        A listener that gives way after every round.
    """
    from fedward_client.jobs.slot import SLOT, Slot  # most commands need no client

    folder = os.environ.get(SLOT)
    if folder is None:
        yield listen
        return
    with Slot(Path(folder)).for_job() as turn:

        def hear(event: Event) -> None:
            listen(event)
            if event.kind is EventKind.ROUND_FINISHED:
                turn.give_way()

        yield hear
