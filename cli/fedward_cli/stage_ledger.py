"""What stages cost, so that an arm which took one over from another arm is charged for it all the same."""

from dataclasses import replace

from fedward_cli.results import Results
from fedward_core.spec import Evaluate, Spec


class StageLedger:
    """The results of runs by the stages that they computed."""

    def __init__(self) -> None:
        self._computed: dict[str, Results] = {}

    def charge(self, spec: Spec, results: Results) -> Results:
        """Enter the stages that a run computed, and give its results with the bytes and losses of those it reused."""
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
    sent = {moment: count for moment, count in source.sent.items() if moment.stage == stage}
    losses = {moment: loss for moment, loss in source.losses.items() if moment.stage == stage}
    return replace(results, sent={**sent, **results.sent}, losses={**losses, **results.losses})
