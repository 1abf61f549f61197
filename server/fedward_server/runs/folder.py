"""The folder of a run on the coordinator's machine, and what of it may be told.

<home>/runs/<id>/job.json         what the next attempt carries out
                 attempt.json     the process that carries it out
                 attempt.lock     held by that process while it lives
                 attempt.log      its own log, for the administrator
                 outcome.json     how the attempt ended
                 run.json, spec.yaml, cards.json, events.jsonl, stages/      written by the run
                 sites/           private stores of simulated sites; never told
"""

from dataclasses import dataclass
from pathlib import Path

from fedward_core.run_folder import EVENTS, best_weights, final_weights


@dataclass(frozen=True)
class RunFolder:
    """Names the files of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def job(self) -> Path:
        """What the next attempt carries out."""
        return self.path / "job.json"

    @property
    def attempt(self) -> Path:
        """The process of the attempt."""
        return self.path / "attempt.json"

    @property
    def lock(self) -> Path:
        """Held while an attempt lives, so that there are never two."""
        return self.path / "attempt.lock"

    @property
    def log(self) -> Path:
        """What attempts print."""
        return self.path / "attempt.log"

    @property
    def outcome(self) -> Path:
        """How the newest attempt ended."""
        return self.path / "outcome.json"

    @property
    def events(self) -> Path:
        """What the run tells."""
        return self.path / EVENTS

    def final(self, stage: str) -> Path:
        """The weights at the end of a stage."""
        return final_weights(self.path, stage)

    def best(self, stage: str) -> Path:
        """The weights after the best evaluated round of a stage."""
        return best_weights(self.path, stage)


def read_lines(path: Path, start: int) -> tuple[list[bytes], int]:
    """The whole lines of a file from a byte on, and the byte behind them; a line without an end is not whole yet."""
    if not path.exists():
        return [], start
    with path.open("rb") as file:
        file.seek(start)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    return whole.split(b"\n")[:-1], start + len(whole)


def readable_from(path: Path, start: int) -> int:
    """Where to read on in a file of lines: at a byte, or where that is no start of a line, at the last one before it.

    A power cut may take lines that were read already, or put zeros in their place, which whoever writes next takes off;
    files that were put back from an older copy may be shorter, too.
    """
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return file.read(start).rfind(b"\n") + 1
