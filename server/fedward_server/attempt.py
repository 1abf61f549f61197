"""Carries one attempt of a run out: ``python -m fedward_server.attempt FOLDER``.

FOLDER/job.json  -->  the run's files in FOLDER  -->  FOLDER/outcome.json

SIGTERM stops the run; what it has reached stays, and the next attempt goes on from there.
"""

import fcntl
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from fedward_core import registry
from fedward_core.atomic import replacing
from fedward_core.config import Frozen
from fedward_core.engine import Job
from fedward_core.errors import FedwardError
from fedward_core.events import Event
from fedward_core.processes.process import Process
from fedward_core.spec import Spec
from fedward_server.engines.attempts import AttemptDiedError, AttemptJob, Outcome
from fedward_server.engines.subprocess_attempts import attempt_in
from fedward_server.runs.folder import RunFolder

ALREADY_RUNNING = 75  # EX_TEMPFAIL of sysexits.h
DIED = 70  # EX_SOFTWARE
LOCK_POLL_S = 0.1

log = logging.getLogger(__name__)


def main(folder: RunFolder) -> int:
    """Run, or take up, what the folder's job says.

    Returns:
        0 when there is an outcome; 75 if another attempt is alive in the folder; 70 if a process of this one died,
        which leaves no outcome, as if all of it had died.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if not _locked(folder):
        return ALREADY_RUNNING
    process = Process.of(os.getpid())
    assert process is not None
    _write(folder.attempt, process)
    outcome = _carry_out(folder)
    if outcome is None:
        return DIED
    _write(folder.outcome, outcome)
    return 0


def _locked(folder: RunFolder) -> bool:
    """Lock the folder for as long as this process and its forked workers live.

    The workers of an attempt that was killed need a moment to notice, and are waited for: they write to the folder too.

    Returns:
        Whether it is locked; not, if another attempt is alive.
    """
    lock = os.open(folder.lock, os.O_CREAT | os.O_RDWR, 0o600)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = attempt_in(folder)
            if process is not None and process.is_alive:
                return False
            time.sleep(LOCK_POLL_S)
        else:
            return True


def _carry_out(folder: RunFolder) -> Outcome | None:
    try:
        job = AttemptJob.model_validate_json(folder.job.read_bytes())
        registry.resolve("engines", job.engine)().run(_job(job, folder.path), _ignore)
    except AttemptDiedError as error:
        log.warning("%s", error)
        return None
    except FedwardError as error:
        return Outcome(state="failed", reason=str(error))
    except KeyboardInterrupt:
        return Outcome(state="stopped")
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must not end without a reason
        traceback.print_exc()
        if _is_asked_to_stop():  # pydantic makes an error of its own of what interrupts it
            return Outcome(state="stopped")
        return Outcome(state="failed", reason=f"a fault of Fedward itself ({type(error).__name__}): its log tells more")
    return Outcome(state="completed")


def _job(job: AttemptJob, out: Path) -> Job:
    spec = Spec.parse(job.spec)
    return Job(
        spec=spec,
        run=job.run,
        sites=job.sites,
        data=Path(job.data),
        out=out,
        reuse=Path(job.reuse) if job.reuse else None,
        workers=job.workers,
        superlink=job.superlink,
        superlink_keys=Path(job.superlink_keys) if job.superlink_keys else None,
    )


def _ignore(_event: Event) -> None:
    """The coordinator reads events from the folder, and so misses none while it is away."""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # being asked again must not disturb the clearing up
    raise KeyboardInterrupt


def _is_asked_to_stop() -> bool:
    return signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def _write(path: Path, value: Frozen) -> None:
    with replacing(path) as temporary:
        temporary.write_text(value.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1]))))
