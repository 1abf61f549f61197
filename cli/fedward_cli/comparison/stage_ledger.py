"""What stages cost, so that an arm which took one over from another arm is charged for it all the same."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from fedward_cli.simulation.results import Moment, Results
from fedward_core.spec import Evaluate, Spec

Number = TypeVar("Number", int, float)


class StageLedger:
    """The results of runs by the stages that they computed."""

    def __init__(self) -> None:
        self._computed: dict[str, Results] = {}

    def charge(self, spec: Spec, results: Results) -> Results:
        """Enter the stages that a run computed, and give its results with what those cost that it reused."""
        for index, stage in enumerate(spec.stages):
            key = _key(spec, index)
            if stage.name not in results.reused:
                self._computed.setdefault(key, results)
            elif key in self._computed:
                results = _with_stage(results, stage.name, self._computed[key])
        return results


def _key(spec: Spec, index: int) -> str:
    """Alike for specs whose stages up to this one are alike."""
    same = {"name": "any", "evaluate": Evaluate(), "stages": spec.stages[: index + 1]}
    return spec.model_copy(update=same).digest()


def _with_stage(results: Results, stage: str, source: Results) -> Results:
    return replace(
        results,
        sent={**_of(stage, source.sent), **results.sent},
        steps={**_of(stage, source.steps), **results.steps},
        losses={**_of(stage, source.losses), **results.losses},
    )


def _of(stage: str, values: Mapping[Moment, Number]) -> dict[Moment, Number]:
    return {moment: value for moment, value in values.items() if moment.stage == stage}
