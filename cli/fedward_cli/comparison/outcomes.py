"""What became of the runs of a comparison: results where they came to their end, reasons where they failed."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fedward_cli.comparison.arm_runs import Part, results_of
from fedward_cli.comparison.side_by_side import Run
from fedward_cli.comparison.stage_ledger import StageLedger
from fedward_cli.simulation.results import Results


class Outcomes:
    """What became of the runs, with the stages that one took over from another charged to both.

    Args:
        outcomes: Each run with its results, or with why it failed.
        folder: The comparison's.

    Attributes:
        failed: Why runs failed, by their names.
    """

    def __init__(self, outcomes: Sequence[tuple[Run, Results | str]], folder: Path) -> None:
        self.failed = {run.name: outcome for run, outcome in outcomes if isinstance(outcome, str)}
        finished = [(run.job, outcome) for run, outcome in outcomes if not isinstance(outcome, str)]
        self._ledger = StageLedger(folder)
        for job, results in finished:
            self._ledger.enter(job.spec, results)
        self._results = {job.out: self._ledger.charge(job.spec, results) for job, results in finished}

    def has_all(self, cells: Iterable[Sequence[Part]]) -> bool:
        """Whether every run of some cells of the comparison came to its end."""
        return all(part.job.out in self._results for parts in cells for part in parts)

    def of(self, parts: Sequence[Part]) -> Results:
        """The results of one cell."""
        return results_of(parts, [self._results[part.job.out] for part in parts])

    def remarks(self) -> Iterator[str]:
        """What the figures lack."""
        for arm, stage in sorted(self._ledger.unknown):
            yield (
                f"Stage '{stage}' of '{arm}' is that of a run which is not here any more, so its rounds, steps and "
                "bytes are not counted; --fresh runs it anew."
            )

    def complaint(self) -> str:
        """Which runs failed and why."""
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in self.failed.items())
        return (
            f"{len(self.failed)} of {len(self.failed) + len(self._results)} runs failed; all others are kept, and the "
            f"same command runs only these again:\n{reasons}"
        )
