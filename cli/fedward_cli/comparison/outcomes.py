"""What became of the runs of a comparison: results where they came to their end, reasons where they failed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fedward_cli.comparison.arm_runs import Part, results_of
from fedward_cli.comparison.side_by_side import Run
from fedward_cli.comparison.stage_ledger import StageLedger
from fedward_cli.simulation.results import Results


class Outcomes:
    """What became of the runs, with the stages that one took over from another charged to both.

    Args:
        outcomes: In the order in which the runs were given, each with its results, or with why it failed.
    """

    def __init__(self, outcomes: Sequence[tuple[Run, Results | str]]) -> None:
        ledger = StageLedger()
        self._results: dict[Path, Results] = {}
        self.failed: dict[str, str] = {}
        for run, outcome in outcomes:
            if isinstance(outcome, str):
                self.failed[run.name] = outcome
            else:
                self._results[run.job.out] = ledger.charge(run.job.spec, outcome)

    def has_all(self, cells: Iterable[Sequence[Part]]) -> bool:
        """Whether every run of some cells of the comparison came to its end."""
        return all(part.job.out in self._results for parts in cells for part in parts)

    def of(self, parts: Sequence[Part]) -> Results:
        """The results of one cell."""
        return results_of(parts, [self._results[part.job.out] for part in parts])

    def complaint(self) -> str:
        """Which runs failed and why."""
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in self.failed.items())
        return (
            f"{len(self.failed)} of {len(self.failed) + len(self._results)} runs failed; all others are kept, and the "
            f"same command runs only these again:\n{reasons}"
        )
