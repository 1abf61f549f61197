"""How long does a round take between processes, and what does a large model cost each of them?

``python -m benchmarks.deployed_round`` measures both; with ``--small``, only the empty round.
"""

import os
import sys
import tempfile
import threading
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.report import Spread, print_table
from fedward_core import registry
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

SITES = ("north", "south")
WARM_UP, ROUNDS, AIM_S = 2, 10, 1.5
LARGE_MB = 350.0
LOOK_S = 0.05
# Words of the command line by which each process of a deployment is known, the first that fits.
PROGRAMS = {
    "flower-superlink": "SuperLink",
    "flwr-serverapp": "ServerApp",
    "fedward_client.flower.supernode": "SuperNode",
    "fedward_client.flower.warm_helper": "client app, with its helper",
    "fedward_client.agent": "agent",
}


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: Of each round, the first included.
        sent: Bytes of weights that went to sites in a round.
        received: Bytes that came back.
        peaks: The most memory that a process of each kind held itself, in bytes.
    """

    seconds: tuple[float, ...]
    sent: int
    received: int
    peaks: dict[str, int]


def main() -> None:
    """Measure and print."""
    small = run(megabytes=0.01, rounds=WARM_UP + ROUNDS)
    warm = Spread(small.seconds[WARM_UP:])
    verdict = "reached" if warm.median <= AIM_S else "missed"
    note = f"{ROUNDS} rounds of one run after {WARM_UP} to warm up; the aim of {AIM_S:g} s is {verdict}."
    print_table("An empty round between processes, two sites", ("s", "aim, s"), [(warm, f"{AIM_S:g}")], note)
    if "--small" not in sys.argv:
        print()
        _print_large(run(megabytes=LARGE_MB, rounds=2))


def run(*, megabytes: float, rounds: int) -> Measured:
    """Carry a rehearsal out with the deployment engine."""
    starts: list[float] = []
    finished: list[Event] = []

    def listen(event: Event) -> None:
        if event.kind is EventKind.ROUND_STARTED:
            starts.append(event.time_s)
        if event.kind is EventKind.ROUND_FINISHED:
            finished.append(event)

    with tempfile.TemporaryDirectory() as folder, PeakMemory(folder) as peaks:
        registry.resolve("engines", "deployment")().run(job(Path(folder), megabytes, rounds), listen)
    ends = [*starts[1:], finished[-1].time_s]
    return Measured(
        seconds=tuple(end - start for start, end in pairwise([starts[0], *ends])),
        sent=finished[-1].facts["bytes_sent"],
        received=finished[-1].facts["bytes_received"],
        peaks=dict(peaks.of_kind),
    )


def job(folder: Path, megabytes: float, rounds: int) -> Job:
    """A rehearsal that is evaluated once, at its end."""
    (folder / "data").mkdir()
    stage = {"name": "rehearse", "method": {"name": "rehearsal", "megabytes": megabytes}, "rounds": rounds}
    cohort = {"min_sites": len(SITES), "round_deadline_s": 1800}
    values = {"name": "rehearsal", "dataset": {"name": "none"}, "cohort": cohort, "stages": [stage]}
    spec = Spec.parse({**values, "evaluate": {"every": 1000}})
    return Job(spec=spec, run="rehearsal", sites=SITES, data=folder / "data", out=folder / "out")


class PeakMemory:
    """Watches the processes of a deployment while the block lasts.

    Memory that a fork shares with its helper, and pages of files, are not counted: only what a process holds itself.

    Args:
        folder: Stands in the command line or the environment of each.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder.encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.of_kind: dict[str, int] = defaultdict(int)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self._note(process)
                except OSError:  # it has ended meanwhile
                    continue

    def _note(self, process: Path) -> None:
        command = (process / "cmdline").read_bytes()
        kind = next((kind for word, kind in PROGRAMS.items() if word.encode() in command), None)
        if kind is not None and self._folder in command + (process / "environ").read_bytes():
            self.of_kind[kind] = max(self.of_kind[kind], _own_bytes(process))


def _own_bytes(process: Path) -> int:
    """Anonymous memory of a process that is in use, whether or not a fork shares it; 0 if it has just ended."""
    lines = (process / "status").read_text().splitlines()
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)
    return kilobytes * 1024


def _print_large(measured: Measured) -> None:
    rows: list[tuple[str, object]] = [
        ("round, s", Spread(measured.seconds[-1:])),
        ("weights to both sites, MB", f"{measured.sent / 1e6:.0f}"),
        ("weights back, MB", f"{measured.received / 1e6:.0f}"),
        *((f"{kind}, peak MB", f"{peak / 1e6:.0f}") for kind, peak in sorted(measured.peaks.items())),
    ]
    note = (
        f"The second round of a run over loopback, {os.cpu_count()} cores for all processes. Peaks are of anonymous "
        "memory, the most of any process of its kind."
    )
    print_table(f"A model of {LARGE_MB:.0f} MB to two sites and back", ("what", "figure"), rows, note)


if __name__ == "__main__":
    main()
