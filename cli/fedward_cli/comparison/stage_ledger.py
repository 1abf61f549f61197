"""What stages cost, so that an arm which took one over from another arm is charged for it all the same."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from fedward_cli.simulation.results import Moment, Results, read_results
from fedward_core.errors import FedwardError
from fedward_core.spec import Spec

Number = TypeVar("Number", int, float)


class StageLedger:
    """The results of runs by the stages that they computed.

    Args:
        folder: The comparison's. The runs of arms that are not compared any more lie there too, and a stage may be
            theirs.

    Attributes:
        unknown: Stages of which no run tells what they cost, by arm.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._computed: dict[str, Results] = {}
        self.unknown: set[tuple[str, str]] = set()

    def enter(self, spec: Spec, results: Results) -> None:
        """Enter the stages that a run computed; every run is entered before any is charged."""
        for key in _computed(spec, results):
            self._computed.setdefault(key, results)

    def charge(self, spec: Spec, results: Results) -> Results:
        """The results of a run with what those stages cost that it reused."""
        for index, stage in enumerate(spec.stages):
            if stage.name not in results.reused:
                continue
            key = spec.beginning(index + 1).digest()
            source = self._computed.get(key) or self._of_others.get(key)
            if source is None:
                self.unknown.add((spec.name, stage.name))
            else:
                results = _with_stage(results, stage.name, source)
        return results

    @cached_property
    def _of_others(self) -> dict[str, Results]:
        """What every run in the folder computed; read only where the runs that are compared do not tell."""
        found: dict[str, Results] = {}
        for pattern in ("*/seed-*/spec.yaml", "*/seed-*/*/spec.yaml"):
            for path in sorted(self._folder.glob(pattern)):
                try:
                    spec, results = Spec.read(path), read_results(path.parent)
                except FedwardError:  # a damaged run of an arm that is not compared: what only it tells is unknown
                    continue
                found |= dict.fromkeys(_computed(spec, results), results)
        return found


def _computed(spec: Spec, results: Results) -> Iterator[str]:
    """The stages that a run computed to their ends; of one that was interrupted, another run may tell more."""
    for index, stage in enumerate(spec.stages):
        trained = {moment.round for moment in results.losses if moment.stage == stage.name}
        if stage.name not in results.reused and len(trained) == stage.rounds:
            yield spec.beginning(index + 1).digest()


def _with_stage(results: Results, stage: str, source: Results) -> Results:
    return replace(
        results,
        sent={**_of(stage, source.sent), **results.sent},
        steps={**_of(stage, source.steps), **results.steps},
        losses={**_of(stage, source.losses), **results.losses},
    )


def _of(stage: str, values: Mapping[Moment, Number]) -> dict[Moment, Number]:
    return {moment: value for moment, value in values.items() if moment.stage == stage}
