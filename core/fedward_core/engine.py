"""The contract of every engine: where a run executes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedward_core.events import Listener
from fedward_core.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run on one machine.

    Attributes:
        spec: What is run.
        run: The run's id; a run with the same id in the same folder is resumed.
        sites: The sites that take part, in alphabetical order.
        data: The folder with the sites' datasets.
        out: Where checkpoints, metrics and models go.
        reuse: A folder with finished stages by digest, shared by runs; None to compute every stage.
        workers: Processes that train side by side. Results do not depend on it.
        superlink: ``host:port`` of the SuperLink at which the sites are; None for sites on this machine.
        superlink_keys: The folder with what its clients need beside the address; None where that is nothing.
    """

    spec: Spec
    run: str
    sites: tuple[str, ...]
    data: Path
    out: Path
    reuse: Path | None = None
    workers: int = 1
    superlink: str | None = None
    superlink_keys: Path | None = None


class Engine(Protocol):
    """Carries a job to its end; an interrupted job is taken up by running it again."""

    def run(self, job: Job, listen: Listener) -> None:
        """Run, or take up, a job.

        Args:
            job: What is run.
            listen: Called with every event, in this process.

        Raises:
            FedwardError: The run failed; the message says why. What was reached is on disk.
            KeyboardInterrupt: It was interrupted; every process of the engine has ended.
        """
