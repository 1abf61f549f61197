"""``/runs``."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from fedward_core.spec import Spec
from fedward_server.home import Home
from fedward_server.keys.access import READER, RESEARCHER, Keys, Shown, Tables
from fedward_server.keys.models import ApiKey
from fedward_server.runs import artifacts, metrics, service
from fedward_server.runs.models import CreateRunRequest, Run, RunEvent, RunMetrics, RunWithSpec
from fedward_server.runs.shares import Shares
from fedward_server.runs.states import RunState
from fedward_server.runs.stream import stream_events

router = APIRouter(prefix="/runs", tags=["runs"])

IdempotencyKey = Annotated[str | None, Header(max_length=200)]
MAX_SEQUENCE = 2**31 - 1
After = Annotated[int, Query(ge=0, le=MAX_SEQUENCE)]
LastEventId = Annotated[int | None, Header(ge=0, le=MAX_SEQUENCE)]


@router.post("", status_code=201, dependencies=[RESEARCHER])
async def submit_run(
    request: CreateRunRequest, response: Response, database: Tables, idempotency_key: IdempotencyKey = None
) -> Run:
    """Submit a run. Submitting the same again, by id or Idempotency-Key, answers 200 with the run that is there."""
    spec = await asyncio.to_thread(Spec.parse, request.spec)
    async with database.writing() as session:
        run, is_new = await service.submit_run(session, request, spec, idempotency_key)
    response.status_code = 201 if is_new else 200
    return run


@router.get("", dependencies=[READER])
async def list_runs(
    database: Tables, state: RunState | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[Run]:
    """Runs, the newest first."""
    async with database.reading() as session:
        return await service.list_runs(session, state, limit)


@router.get("/{run}", dependencies=[READER])
async def show_run(run: str, database: Tables) -> RunWithSpec:
    """One run with its spec."""
    async with database.reading() as session:
        return await service.show_run(session, run)


@router.post("/{run}/stop", status_code=202, dependencies=[RESEARCHER])
async def stop_run(run: str, database: Tables) -> Run:
    """Ask a run to end. Asking for the end of what has ended is fine."""
    async with database.writing() as session:
        return await service.stop_run(session, run)


@router.post("/{run}/pause", status_code=202, dependencies=[RESEARCHER])
async def pause_run(run: str, database: Tables) -> Run:
    """Ask a run to rest. What it has reached is kept; asking again is fine."""
    async with database.writing() as session:
        return await service.pause_run(session, run)


@router.post("/{run}/resume", status_code=202, dependencies=[RESEARCHER])
async def resume_run(run: str, database: Tables) -> Run:
    """Let a run that was paused or has failed go on from its last round, as soon as there is room."""
    async with database.writing() as session:
        return await service.resume_run(session, run)


@router.get("/{run}/events", dependencies=[READER])
async def list_events(
    run: str, database: Tables, after: After = 0, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
) -> list[RunEvent]:
    """Events behind a sequence number, in order: where they are large, fewer than `limit`, and none behind the last."""
    async with database.reading() as session:
        return await service.list_events(session, run, after, limit)


@router.get("/{run}/events/stream", response_class=StreamingResponse)
async def follow_events(  # noqa: PLR0913 - what a request brings along, each by its name
    *,
    run: str,
    key: Annotated[ApiKey, READER],
    request: Request,
    database: Tables,
    keyring: Keys,
    shown: Shown,
    after: After = 0,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Events as they happen, as server-sent events; the last one is `end`."""
    async with database.reading() as session:
        await service.show_run(session, run)  # an unknown run is an answer, not an empty stream
    streams: Shares = request.app.state.streams
    streams.check(key)
    assert shown is not None
    check = partial(keyring.recognise, database, shown.credentials)
    events = stream_events(database, run, last_event_id if last_event_id is not None else after, check)
    streams.hold(events, key)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/{run}/metrics", dependencies=[READER])
async def show_metrics(run: str, database: Tables) -> RunMetrics:
    """Losses and figures so far."""
    async with database.reading() as session:
        return await metrics.read_metrics(session, run)


@router.get("/{run}/metrics.csv", dependencies=[READER], response_class=PlainTextResponse)
async def download_metrics(run: str, database: Tables) -> PlainTextResponse:
    """The same as a table, one line for each figure."""
    async with database.reading() as session:
        text = metrics.as_csv(await metrics.read_metrics(session, run))
    headers = {"Content-Disposition": f'attachment; filename="{run}.csv"'}
    return PlainTextResponse(text, media_type="text/csv", headers=headers)


@router.get("/{run}/artifacts/download", response_class=StreamingResponse)
async def download_artifacts(
    run: str, key: Annotated[ApiKey, READER], request: Request, database: Tables
) -> StreamingResponse:
    """Spec, cards, events, metrics, final and best weights and digests of a run that has ended, as one zip file."""
    home: Home = request.app.state.home
    downloads: Shares = request.app.state.downloads
    async with request.app.state.writing:  # one at a time, so that no crowd of them keeps others from disk and threads
        downloads.check(key)
        async with database.reading() as session:
            findings = await artifacts.gather(session, run)
        file = await asyncio.to_thread(artifacts.write_zip, findings, home.run(run), home.path)
        downloads.hold(file, key)
    headers = {"Content-Length": str(file.tell()), "Content-Disposition": f'attachment; filename="{run}.zip"'}
    return StreamingResponse(artifacts.chunks_of(file), media_type="application/zip", headers=headers)
