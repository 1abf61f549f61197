"""What a run that has ended leaves, in one zip file; nothing of the simulated sites' private folders is in it.

run.json  spec.json  cards.json  events.jsonl  metrics.json  metrics.csv  models.json  digests.json
stages/<stage>/final.safetensors  stages/<stage>/best.safetensors

models.json says of each stage what its weights are, and why any are absent.
"""

import asyncio
import hashlib
import json
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.cards import CARDS
from fedward_core.config import Frozen
from fedward_core.run_folder import EVENTS, RECORD
from fedward_server.errors import ConflictError, UnavailableError
from fedward_server.runs import service
from fedward_server.runs.folder import RunFolder
from fedward_server.runs.metrics import as_csv, read_metrics
from fedward_server.runs.model_notes import models_of
from fedward_server.runs.models import RunEvent, RunMetrics, RunWithSpec

EVERYTHING = 10**9
CHUNK_BYTES = 2**20


class Findings(Frozen):
    """What the database holds of a run that has ended."""

    run: RunWithSpec
    events: tuple[RunEvent, ...]
    metrics: RunMetrics


async def gather(session: AsyncSession, run: str) -> Findings:
    """Read what the database holds of a run.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It has not ended.
    """
    found = await service.show_run(session, run)
    if not found.state.is_end:
        raise ConflictError(f"run '{run}' is {found.state}: its artifacts can be downloaded when it has ended")
    events = await service.list_events(session, run, 0, EVERYTHING, most_chars=None)
    return Findings(run=found, events=tuple(events), metrics=await read_metrics(session, run))


def write_zip(findings: Findings, folder: RunFolder, scratch: Path) -> BinaryIO:
    """Write the zip to a file without a name, whose room is free again once it is closed, however that comes about.

    Args:
        findings: What the database holds.
        folder: The run's folder.
        scratch: On whose disk the file lies meanwhile.

    Returns:
        The file, at its end.

    Raises:
        UnavailableError: It could not be written, or read.
    """
    try:
        file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - whoever sends it closes it
        try:
            _fill(file, findings, folder)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise UnavailableError(f"the zip file cannot be written ({error.strerror}): is the disk full?") from error
    return file


async def chunks_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """A file from its beginning, piece by piece; it is closed at its end, or when nobody wants more."""
    try:
        file.seek(0)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()


def _fill(file: BinaryIO, findings: Findings, folder: RunFolder) -> None:
    digests: dict[str, str] = {}
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in _texts(findings, folder).items():
            archive.writestr(name, text, zipfile.ZIP_DEFLATED)
            digests[name] = hashlib.sha256(text.encode()).hexdigest()
        for name, source in _files(findings, folder):
            archive.write(source, name)
            with source.open("rb") as opened:
                digests[name] = hashlib.file_digest(opened, "sha256").hexdigest()
        archive.writestr("digests.json", _as_text(digests))


def _texts(findings: Findings, folder: RunFolder) -> dict[str, str]:
    return {
        RECORD: _as_text(findings.run.model_dump(mode="json", exclude={"spec"})),
        "spec.json": _as_text(findings.run.spec),
        "metrics.json": _as_text(findings.metrics.model_dump(mode="json")),
        "metrics.csv": as_csv(findings.metrics),
        "models.json": _as_text(models_of(findings.run.spec, folder)),
        EVENTS: "".join(event.model_dump_json() + "\n" for event in findings.events),
    }


def _files(findings: Findings, folder: RunFolder) -> Iterable[tuple[str, Path]]:
    stages = [stage["name"] for stage in findings.run.spec["stages"]]
    sources = (*map(folder.final, stages), *map(folder.best, stages), folder.path / CARDS)
    return [(source.relative_to(folder.path).as_posix(), source) for source in sources if source.is_file()]


def _as_text(values: object) -> str:
    return json.dumps(values, indent=2) + "\n"
