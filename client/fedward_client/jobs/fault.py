"""What a job's process tells the agent when it ends by a fault that would end it again.

<job>/fault    one sentence, which may name what only the site may see

A process that ends and leaves none has died, as by a signal, and is worth another start.
"""

import os
from contextlib import suppress
from pathlib import Path

from fedward_core.atomic import replacing
from fedward_core.errors import CheckpointError

FAULT = "FEDWARD_FAULT"  # the environment variable that names the file to a job's process


def fault_of(job: Path) -> Path:
    """Where the sentence lies in a job's folder."""
    return job / "fault"


def keep_fault(sentence: str) -> None:
    """Keep what has ended this process, where it is a job's; elsewhere nothing is kept."""
    path = os.environ.get(FAULT)
    if path is None:
        return
    with suppress(CheckpointError), replacing(Path(path)) as temporary:  # a full disk may be the very fault
        temporary.write_text(sentence, encoding="utf-8")


def read_fault(job: Path) -> str:
    """What has ended a job's process; empty where that has told nothing."""
    try:
        return fault_of(job).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
