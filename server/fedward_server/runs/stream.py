"""Events as they happen, in the form of server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fedward_server.database.database import Database
from fedward_server.errors import DatabaseAwayError, UnauthorizedError
from fedward_server.runs import service
from fedward_server.runs.models import RunEvent

POLL_S = 0.25
BATCH = 500
# Decided here: proxies commonly close a connection after a minute of silence.
SILENCE_S = 15.0
AWAY_S = 2.0


async def stream_events(
    database: Database, run: str, after: int, check: Callable[[], Awaitable[object]]
) -> AsyncIterator[str]:
    """Events behind a sequence number, until the run has ended and all is told; then one last event ``end``.

    Args:
        database: Holds them.
        run: The run.
        after: The sequence number.
        check: Asks whether whoever listens still may; if that raises UnauthorizedError, no more is told.
    """
    spoke_s = time.monotonic()
    while True:
        try:
            await check()
            async with database.reading() as session:
                state = (await service.show_run(session, run)).state
                events = await service.list_events(session, run, after, BATCH)
        except DatabaseAwayError:
            yield ": the database does not answer\n\n"
            await asyncio.sleep(AWAY_S)
            continue
        except UnauthorizedError:
            return
        for event in events:
            yield f"id: {event.sequence}\nevent: {event.kind}\ndata: {_in_one_line(event)}\n\n"
            after, spoke_s = event.sequence, time.monotonic()
        if events:
            continue
        if state.is_end:
            yield f'event: end\ndata: {{"state": "{state}"}}\n\n'
            return
        if time.monotonic() - spoke_s > SILENCE_S:
            yield ": nothing new\n\n"
            spoke_s = time.monotonic()
        await asyncio.sleep(POLL_S)


def _in_one_line(event: RunEvent) -> str:
    """An event in ASCII alone: some readers end a line at other marks of Unicode too, which a site may tell."""
    return json.dumps(json.loads(event.model_dump_json()), separators=(",", ":"))
