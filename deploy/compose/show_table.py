"""Prints the final figures of a run that has ended, out of its events as REST tells them: show_table.py RUN."""

import json
import sys
import tempfile
from pathlib import Path

from fedward_cli.consoles import output
from fedward_cli.coordinator import Coordinator
from fedward_cli.results import EVENTS, Results, read_results
from fedward_cli.tables import results_table
from fedward_core.events import EventKind


def fetch_results(coordinator: Coordinator, run: str) -> Results:
    """What the run told; the coordinator's own events, such as moves between states, are left out."""
    kinds = set(EventKind)
    told = [event for event in coordinator.events(run, after=0) if event["kind"] in kinds]
    lines = [json.dumps({key: value for key, value in event.items() if key != "sequence"}) for event in told]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / EVENTS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return read_results(Path(folder))


if __name__ == "__main__":
    name = sys.argv[1]
    output().print(results_table(fetch_results(Coordinator.of_environment(), name), name))
