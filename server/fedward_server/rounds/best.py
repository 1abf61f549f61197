"""The best model of a stage: by one figure on the validation split, averaged over sites by their images.

The test split never chooses, and the spec refuses to let it. A figure that no site measures chooses nothing, and the
run says so at its first evaluation.
"""

from collections.abc import Iterable, Mapping

from fedward_core.metric import Metric
from fedward_core.plan import StagePlan
from fedward_server.rounds.stage_state import StageFolder, StageState

LESS_IS_BETTER = ("loss",)


class BestModel:
    """Keeps the weights after the best evaluated round of a stage; of equals, the first.

    Args:
        folder: The stage's files.
        plan: The stage's plan.
        metric: The figure that chooses; None to keep nothing.
    """

    def __init__(self, folder: StageFolder, plan: StagePlan, metric: str | None) -> None:
        self._folder = folder
        self._plan = plan
        self._metric = metric
        self._best = folder.best_value(metric) if metric else None

    def consider(self, state: StageState, evaluations: Iterable[Mapping[str, Metric]]) -> str | None:
        """Keep the weights if they are the best so far.

        Args:
            state: The state that was evaluated.
            evaluations: The figures of each training site that answered.

        Returns:
            What is wrong, if none of them measured the figure.

        Raises:
            CheckpointError: The disk is full or not writable.
        """
        if self._metric is None:
            return None
        found = list(evaluations)
        value = mean_weighted_by_images(found, self._metric)
        if value is None:
            known = ", ".join(sorted({name for one in found for name in one})) or "none"
            return (
                f"evaluate.best is '{self._metric}', which no site that trains measured: no best model is kept. "
                f"Known are {known}"
            )
        if self._best is None or self._is_better(value, self._best):
            self._folder.keep_best(state, self._plan, self._metric, value)
            self._best = value
        return None

    def _is_better(self, value: float, best: float) -> bool:
        return value < best if self._metric in LESS_IS_BETTER else value > best


def mean_weighted_by_images(evaluations: Iterable[Mapping[str, Metric]], metric: str) -> float | None:
    """The mean of a figure over the sites that have it, each counted by the images behind its own; None if none has."""
    figures = [one[metric] for one in evaluations if metric in one]
    weighted = [(figure.n * figure.value, figure.n) for figure in figures if figure.value is not None and figure.n > 0]
    if not weighted:
        return None
    return sum(value for value, _ in weighted) / sum(n for _, n in weighted)
