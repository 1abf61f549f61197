"""What a client app notes of its work, so that the agent can name it, end it, and answer in its stead.

<notes>/<number>.json      is there while the app works; an app that was killed leaves it behind
"""

import base64
import os
import stat
from pathlib import Path
from typing import Self

from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from pydantic import ValidationError

from fedward_core.atomic import replacing
from fedward_core.config import Frozen
from fedward_core.processes.process import Process

NOTE = "FEDWARD_WORK_NOTE"  # the environment variable that names a fork's note to its app
MOST_BYTES = 2**20  # a note is small; what is larger is none


class WorkNote(Frozen):
    """One client app at work.

    Attributes:
        process: Its process, which leads a group.
        run: The run's id; empty until its message has come.
        attempt: The attempt of the run.
        letter: The message without its content, as the app got it; empty until then.
    """

    process: Process
    run: str = ""
    attempt: int = 0
    letter: str = ""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The note in a file; None if there is none, or none yet, or if it names a process of somebody else.

        The agent ends what a note names. Where it is root's, it ends no process but those of the user who wrote it.
        """
        try:
            content, owner = _content_and_owner(path)
            note = cls.model_validate_json(content)
            return note if not note.process.is_alive or _user_of(note.process) == owner else None
        except (OSError, ValidationError):
            return None

    def write(self, path: Path) -> None:
        """Write the note, whole or not at all."""
        with replacing(path, durable=False) as temporary:
            temporary.write_text(self.model_dump_json(), encoding="utf-8")

    @property
    def message(self) -> Message | None:
        """The message without its content."""
        if not self.letter:
            return None
        return message_from_proto(MessageProto.FromString(base64.b64decode(self.letter)))


def _content_and_owner(path: Path) -> tuple[bytes, int]:
    """What a file holds and whose it is, of one and the same: its user may put another in its place at any moment.

    No link is followed and no pipe is waited for, either of which an app that has been taken over could leave there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        return file.read(MOST_BYTES) if stat.S_ISREG(status.st_mode) else b"", status.st_uid


def _user_of(process: Process) -> int:
    """The user whose process it is. Its folder in /proc is root's where it has changed its user."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))


def note_start(path: Path) -> None:
    """Note that this process is a client app, and where its app finds the note."""
    os.environ[NOTE] = str(path)
    _of_this_process().write(path)


def note_message(message: Message, *, run: str, attempt: int) -> None:
    """Note which message this process works on; outside a fork of the helper nothing is noted."""
    if NOTE not in os.environ:
        return
    proto = message_to_proto(remove_content_from_message(message))
    letter = base64.b64encode(proto.SerializeToString()).decode()
    note = _of_this_process().model_copy(update={"run": run, "attempt": attempt, "letter": letter})
    note.write(Path(os.environ[NOTE]))


def _of_this_process() -> WorkNote:
    process = Process.of(os.getpid())
    assert process is not None
    return WorkNote(process=process)
