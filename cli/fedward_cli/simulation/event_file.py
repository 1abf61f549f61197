"""What a run tells, in a file of its folder: read at once, or piece by piece while it is written."""

from pathlib import Path

from fedward_core.errors import CheckpointError
from fedward_core.events import Event
from fedward_core.run_folder import EVENTS
from fedward_server.runs.folder import read_lines


class EventFile:
    """The events of a run, from the first on; each is read once.

    Args:
        out: The run's folder.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._bytes_read = 0

    def more(self) -> list[Event]:
        """What is new since the last look, in order; none while there is no file.

        A last line that is not whole is left for the next look: it is being written, or its process was killed.

        Raises:
            CheckpointError: A line is no event.
        """
        try:
            lines, self._bytes_read = read_lines(self._out / EVENTS, self._bytes_read)
            return [Event.model_validate_json(line) for line in lines]
        except ValueError as error:
            raise CheckpointError(
                f"'{EVENTS}' in '{self._out.name}' has a line that is no event: the file is damaged"
            ) from error


def read_events(out: Path) -> list[Event]:
    """The events of a run so far, in order.

    Raises:
        CheckpointError: There are no events, or a line that is none.
    """
    if not (out / EVENTS).exists():
        raise CheckpointError(f"'{out.name}' holds no events: expected a folder that `fedward simulate` has written")
    return EventFile(out).more()
