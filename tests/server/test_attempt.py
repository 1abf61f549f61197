"""How an attempt of a run ends."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedward_core import registry
from fedward_core.engine import Job
from fedward_server import attempt
from fedward_server.engines.attempts import AttemptJob
from fedward_server.runs.folder import RunFolder

SPEC = {"name": "drill", "dataset": {"name": "none"}, "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}]}


def stopped() -> None:
    """What pydantic does when it is interrupted while it writes JSON."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt:
        raise ValueError("Error serializing to JSON: KeyboardInterrupt") from None


def broken() -> None:
    raise ValueError("a fault")


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("ends", "state"), [(stopped, "stopped"), (broken, "failed")], ids=["stopped within a library", "a fault"]
)
def test_a_run_that_was_asked_to_stop_has_not_failed_whatever_the_interruption_became(
    ends: Callable[[], None], state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Engine:
        def run(self, job: Job, listen: object) -> None:
            ends()

    monkeypatch.setattr(registry, "resolve", lambda kind, name: Engine)
    folder = RunFolder(tmp_path)
    job = AttemptJob(engine="inline", spec=SPEC, run="drill-1", sites=("hill",), data=str(tmp_path), workers=1)
    folder.job.write_text(job.model_dump_json())
    monkeypatch.setattr(attempt, "_job", lambda job, out: job)
    assert attempt.main(folder) == 0
    assert f'"state":"{state}"' in folder.outcome.read_text()
