"""Carries jobs out over a network of processes: submits them by REST, follows them, and fetches what they leave."""

import json
import tempfile
import time
import zipfile
from pathlib import Path

from rich.markup import escape

from fedward_cli.display.consoles import tell
from fedward_cli.network.local_network import STUDY, Network
from fedward_cli.network.run_events import event_of, follow_to_the_end
from fedward_cli.simulation.execution import CURVES, check_same, find_run, remove_run, write_figures
from fedward_cli.simulation.results import Results, read_results
from fedward_core.engine import Job
from fedward_core.run_folder import EVENTS, RECORD

START_TIMEOUT_S = 120.0
POLL_S = 0.2


class Deployed:
    """Carries jobs out over one network.

    Args:
        network: The network.
        fresh: Remove what a job's folder holds, and run it anew.
    """

    def __init__(self, network: Network, *, fresh: bool = False) -> None:
        self._network = network
        self._fresh = fresh

    def __call__(self, job: Job) -> Results:
        """Bring a job to its end, and write its figures and curves; a finished job is only read.

        Raises:
            FedwardError: The run failed, or the folder holds another run.
        """
        if self._fresh:
            remove_run(job.out)
        found = find_run(job.out)
        if found is not None:
            check_same(found, job)
            tell(f"'{escape(str(job.out))}' is finished: its results are read. --fresh runs it again.")
        else:
            self._carry_out(job)
        results = read_results(job.out)
        if found is None or not (job.out / CURVES).exists():  # of an interruption between the two
            write_figures(job, results)
        return results

    def _carry_out(self, job: Job) -> None:
        self._submit(job)
        self._tell_where(job.run)
        follow_to_the_end(self._network.coordinator, job.run)
        self._fetch(job)

    def _submit(self, job: Job) -> None:
        spec = job.spec.model_dump(mode="json")
        self._network.coordinator.post("/runs", {"study": STUDY, "spec": spec, "run": job.run})

    def _tell_where(self, run: str) -> None:
        """Say what an operator would look for: the run and its nodes at the SuperLink."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (flower_run := self._network.flower_run(run)) and time.monotonic() < deadline:
            if self._network.coordinator.get(f"/runs/{run}")["state"] in {"failed", "cancelled", "completed"}:
                return
            time.sleep(POLL_S)
        nodes = ", ".join(self._network.nodes())
        tell(f"Run '{escape(run)}' is run {flower_run} of the SuperLink, at the nodes {nodes}")

    def _fetch(self, job: Job) -> None:
        with tempfile.TemporaryDirectory(prefix="fedward-run-") as name:
            archive = Path(name) / "run.zip"
            self._network.coordinator.download(f"/runs/{job.run}/artifacts/download", archive)
            unpack(archive, job.out)


def unpack(archive: Path, out: Path) -> None:
    """Unpack what a run leaves, as an engine writes it; run.json comes last, and says that all is there.

    Args:
        archive: What a coordinator gave.
        out: The run's folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as files:
        files.extractall(out, [name for name in files.namelist() if name != RECORD])
        _keep_events_of_the_run(out / EVENTS)
        files.extract(RECORD, out)


def _keep_events_of_the_run(path: Path) -> None:
    """The coordinator's own events, such as moves between states, are no part of an engine's."""
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    events = [event for one in told if (event := event_of(one)) is not None]
    path.write_text("".join(f"{event.model_dump_json()}\n" for event in events), encoding="utf-8")
