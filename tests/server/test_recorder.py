"""The record of a run: whole lines, whatever the disk does."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedward_core.errors import CheckpointError
from fedward_core.events import Event, EventKind
from fedward_server.rounds.recorder import Recorder


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_event_for_which_there_is_no_room_is_told_of_and_leaves_whole_lines(tmp_path: Path) -> None:
    path, heard = tmp_path / "events.jsonl", list[Event]()
    recorder = Recorder(path, heard.append)
    recorder.tell(EventKind.RUN_STARTED)
    with room_for(path.stat().st_size + 10), pytest.raises(CheckpointError, match=r"cannot write 'events\.jsonl'"):
        recorder.tell(EventKind.WARNING, reason="half of this fits")
    recorder.tell(EventKind.RUN_FAILED)
    told = [json.loads(line)["kind"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert told == [event.kind for event in heard] == ["run_started", "run_failed"]


def test_a_line_that_a_power_cut_has_damaged_tells_nothing_and_holds_up_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for site in ("north", "hill"):
        Recorder(path, lambda _: None).tell(EventKind.EVALUATED, stage="only", round_=0, site=site)
        with path.open("ab") as file:
            file.write(b"\0" * 20 + b"\xff\n")
    recorder = Recorder(path, lambda _: None)
    assert recorder.told_by(EventKind.EVALUATED, "only", 0) == {"north", "hill"}
