"""Attempts as processes: found again by whoever knows the folder, never two at a time, and ended when asked."""

import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from fedward_core.engine import Job
from fedward_core.events import Listener
from fedward_core.spec import Spec
from fedward_server.attempt import ALREADY_RUNNING, DIED, LOCK_POLL_S, main
from fedward_server.engines.attempts import AttemptDiedError, AttemptJob, Outcome, Status
from fedward_server.engines.inline import InlineEngine
from fedward_server.engines.subprocess_attempts import SubprocessAttempts
from fedward_server.runs.folder import RunFolder, read_lines, readable_from


def job(folder: Path, *, rounds: int, sites: tuple[str, ...] = ("a", "b", "c")) -> AttemptJob:
    stage = {"name": "only", "method": "rehearsal", "rounds": rounds}
    spec = Spec.parse({"name": "drill", "dataset": {"name": "none"}, "stages": [stage]})
    values = spec.model_dump(mode="json")
    return AttemptJob(run="run-1", spec=values, sites=sites, data=str(folder), engine="inline", workers=1)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run-1")


@pytest.fixture
def attempts(folder: RunFolder) -> Iterator[SubprocessAttempts]:
    made = SubprocessAttempts()
    yield made
    handle = made.find(folder)
    if handle is not None:
        made.stop(handle, by_force=True)
        wait_until(lambda: made.poll(handle) is Status.ENDED)


def test_an_attempt_ends_with_its_outcome(attempts: SubprocessAttempts, folder: RunFolder) -> None:
    handle = attempts.start(folder, job(folder.path, rounds=1))
    wait_until(lambda: attempts.poll(handle) is Status.ENDED)
    assert attempts.outcome(folder) == Outcome(state="completed")
    assert attempts.find(folder) is None
    attempts.stop(handle)
    attempts.stop(handle, by_force=True)


def test_a_run_that_cannot_go_on_fails_with_its_reason(attempts: SubprocessAttempts, folder: RunFolder) -> None:
    handle = attempts.start(folder, job(folder.path, rounds=1, sites=("a",)))
    wait_until(lambda: attempts.poll(handle) is Status.ENDED)
    outcome = attempts.outcome(folder)
    assert outcome is not None
    assert outcome.state == "failed"
    assert "cohort.min_sites" in outcome.reason


def test_a_living_attempt_is_adopted_stopped_and_taken_up(attempts: SubprocessAttempts, folder: RunFolder) -> None:
    endless = job(folder.path, rounds=100_000)
    handle = attempts.start(folder, endless)
    wait_until(lambda: len(read_lines(folder.events, 0)[0]) > 20)
    after_a_restart = SubprocessAttempts()
    assert after_a_restart.find(folder) == handle
    assert after_a_restart.start(folder, endless) == handle
    second = subprocess.run([sys.executable, "-m", "fedward_server.attempt", str(folder.path)], check=False)
    assert second.returncode == ALREADY_RUNNING
    after_a_restart.stop(handle)
    after_a_restart.stop(handle)
    wait_until(lambda: attempts.poll(handle) is Status.ENDED)
    assert attempts.outcome(folder) == Outcome(state="stopped")

    following = attempts.start(folder, endless)
    assert following != handle
    assert attempts.outcome(folder) is None
    wait_until(lambda: any(b"run_resumed" in line for line in read_lines(folder.events, 0)[0]))


def test_an_attempt_waits_for_the_workers_of_one_that_was_killed(
    attempts: SubprocessAttempts, folder: RunFolder
) -> None:
    folder.path.mkdir(parents=True)
    with folder.lock.open("w") as worker:
        fcntl.flock(worker, fcntl.LOCK_EX)
        handle = attempts.start(folder, job(folder.path, rounds=1))
        wait_until(lambda: is_open(folder.lock, handle["pid"]))
        time.sleep(3 * LOCK_POLL_S)
        assert attempts.poll(handle) is Status.ALIVE
        assert not folder.events.exists()
    wait_until(lambda: attempts.poll(handle) is Status.ENDED)
    assert attempts.outcome(folder) == Outcome(state="completed")


def is_open(path: Path, pid: int) -> bool:
    """Whether a process has a file open."""
    try:
        return any(entry.resolve() == path for entry in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # of what it closes at this moment
        return False


def test_an_attempt_of_which_a_process_died_leaves_no_outcome(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: InlineEngine, job: Job, listen: Listener) -> None:
        raise AttemptDiedError("the ServerApp died")

    monkeypatch.setattr(InlineEngine, "run", die)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    folder.path.mkdir(parents=True)
    folder.job.write_text(job(folder.path, rounds=1).model_dump_json())
    assert main(folder) == DIED
    assert not folder.outcome.exists()


def test_a_line_without_an_end_is_read_when_it_has_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_lines(path, 0) == ([], 0)
    path.write_text("ä\nb")
    assert read_lines(path, 0) == (["ä".encode()], 3)
    path.write_text("ä\nbc\n")
    assert read_lines(path, 3) == ([b"bc"], 6)


def test_a_line_ends_where_it_was_ended_and_at_no_other_mark_of_unicode(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("a\u2028b\x85c\nd\n", encoding="utf-8")
    assert read_lines(path, 0) == (["a\u2028b\x85c".encode(), b"d"], len(path.read_bytes()))


@pytest.mark.parametrize(
    ("left", "expected"),
    [(b"ab\ncd\nef\n", 6), (b"ab\ncd\n", 6), (b"ab\nc", 3), (b"ab\n\0\0\0\0", 3), (b"ab\n\0\0\0\0\n", 3), (b"", 0)],
)
def test_a_file_of_lines_is_read_on_from_the_start_of_a_line(left: bytes, expected: int, tmp_path: Path) -> None:
    """Two lines were read; then a power cut left no more than this."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(left)
    assert readable_from(path, 6) == expected
