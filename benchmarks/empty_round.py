"""How long does a round take in which nobody trains, beside one digest and one durable write of the same weights?"""

import hashlib
import os
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.processes import PYTHON, figure_of_process
from benchmarks.report import Spread, in_turns, print_table
from fedward_core import registry
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

WARM_UP, ROUNDS, REPEATS = 5, 30, 3
MEGABYTES = 0.01
# Words of the command line of the process that measures it.
BARE, CASES = ("bare",), (("inline", "2"), ("inline", "10"), ("ray", "2"), ("ray", "10"))


def main() -> None:
    """Measure every case in turns and print the table."""
    program = (PYTHON, "-m", "benchmarks.empty_round")
    cases = {words: partial(figure_of_process, *program, *words) for words in (BARE, *CASES)}
    seen = in_turns(cases, REPEATS)
    rows = [(f"`{engine}`", sites, *seen[engine, sites].beside(seen[BARE])) for engine, sites in CASES]
    note = (
        f"Medians of {ROUNDS} warm rounds with their checkpoints, {REPEATS} repeats in fresh processes; seed 0, "
        f"weights of {MEGABYTES * 1000:.0f} kB. The bare limit digests, writes and flushes them once."
    )
    print_table("An empty round", ("engine", "sites", "s", "bare limit, s", "ratio"), rows, note)


def round_seconds(engine: str, sites: int) -> Spread:
    """The warm rounds of one run."""
    starts: list[float] = []

    def listen(event: Event) -> None:
        if event.kind is EventKind.ROUND_STARTED:
            starts.append(event.time_s)

    with tempfile.TemporaryDirectory() as folder:
        registry.resolve("engines", engine)().run(job(Path(folder), sites), listen)
    return Spread(tuple(later - earlier for earlier, later in pairwise(starts[WARM_UP:])))


def job(folder: Path, sites: int) -> Job:
    """A rehearsal that is evaluated once, at its end."""
    stage = {
        "name": "rehearse",
        "method": {"name": "rehearsal", "megabytes": MEGABYTES},
        "rounds": WARM_UP + ROUNDS + 1,
    }
    spec = Spec.parse(
        {
            "name": "rehearsal",
            "dataset": {"name": "none"},
            "cohort": {"min_sites": sites},
            "stages": [stage],
            "evaluate": {"every": 1000},
        }
    )
    names = tuple(f"site-{index:02d}" for index in range(sites))
    return Job(spec=spec, run="rehearsal", sites=names, data=folder / "data", out=folder / "out")


def bare_seconds() -> Spread:
    """One digest and one durable write of as many bytes, as often."""
    content = os.urandom(int(MEGABYTES * 1e6))
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            hashlib.sha256(content).hexdigest()
            write_durably(Path(folder) / "checkpoint", content)
            seconds.append(time.perf_counter() - start)
    return Spread(tuple(seconds))


def write_durably(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it, move it there, and flush the folder."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "bare":
        print(bare_seconds().median)
    else:
        print(round_seconds(sys.argv[1], int(sys.argv[2])).median)
