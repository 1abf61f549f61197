"""Where a stage stands between two rounds, and how that is kept on disk.

<stage>/plan.json                         what the stage's model is made of, written before the first checkpoint
<stage>/checkpoint-00007.safetensors      the state before round 7; the last two are kept
<stage>/final.safetensors                 the whole weights at the end of the stage
<stage>/best.safetensors                  those after the best evaluated round, if the spec says what is best
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedward_core.aggregation.base import Aggregator
from fedward_core.arrays import Array, Arrays, digest, read_arrays, under, write_arrays
from fedward_core.atomic import drop_leftovers, replacing
from fedward_core.errors import CheckpointError
from fedward_core.order import Base
from fedward_core.plan import StagePlan
from fedward_core.run_folder import BEST, FINAL

WEIGHTS, AGGREGATOR = "weights/", "aggregator/"
KEPT = 2
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class StageState:
    """The state before a round.

    Attributes:
        round: The next round.
        weights: The whole global weights. Parts that are private by now hold their last average, for sites that join.
        bases: The last contribution of each site that counted: what the next order builds on.
        report: What is told of the round that led here; empty before round 0.
    """

    round: int
    weights: dict[str, Array]
    bases: dict[str, Base] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The digest of the weights: the parent of the updates of the next round."""
        return digest(self.weights)


class StageFolder:
    """The files of one stage.

    Args:
        folder: Where they lie.
        identity: The digests that a checkpoint must carry to be this stage's: spec and plan.
    """

    def __init__(self, folder: Path, identity: dict[str, str]) -> None:
        self.folder = folder
        self._identity = identity

    def save(self, state: StageState, aggregator: Aggregator) -> None:
        """Write a checkpoint, then drop the oldest; a full disk leaves the older ones untouched.

        Raises:
            CheckpointError: The disk is full or not writable.
        """
        moments, facts = aggregator.state()
        arrays = _prefixed(WEIGHTS, state.weights) | _prefixed(AGGREGATOR, moments)
        bases = {site: base.model_dump() for site, base in state.bases.items()}
        table = {"round": state.round, "bases": bases, "report": state.report}
        table |= {"aggregator": facts, "identity": self._identity}
        write_arrays(self.folder / f"checkpoint-{state.round:05d}.safetensors", arrays, table)
        for old in self._checkpoints()[:-KEPT]:
            old.unlink(missing_ok=True)

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint."""
        return bool(self._checkpoints())

    def load(self, aggregator: Aggregator) -> StageState:
        """The newest checkpoint, put into the aggregator too; what a killed attempt had written half is removed.

        Raises:
            CheckpointError: It is damaged, or belongs to another spec or architecture.
        """
        drop_leftovers(self.folder)
        *older, newest = self._checkpoints()
        try:
            arrays, facts = read_arrays(newest)
        except CheckpointError as error:
            way_on = f"remove it, and the run goes on from '{older[-1].name}'" if older else "begin in another folder"
            raise CheckpointError(f"{error}: {way_on}") from error
        self._check(newest, facts.get("identity"))
        aggregator.load(under(AGGREGATOR, arrays), facts["aggregator"])
        return _state(arrays, facts)

    def finish(self, state: StageState, plan: StagePlan) -> None:
        """Write the stage's result."""
        facts = {"plan": plan.model_dump(mode="json"), "digest": state.digest, "identity": self._identity}
        write_arrays(self.folder / FINAL, state.weights, facts)

    def keep_best(self, state: StageState, plan: StagePlan, metric: str, value: float) -> None:
        """Write the weights after the best evaluated round so far, in place of the former."""
        facts = {"plan": plan.model_dump(mode="json"), "digest": state.digest, "identity": self._identity}
        best = {"metric": metric, "value": value, "round": state.round - 1}
        write_arrays(self.folder / BEST, state.weights, facts | {"best": best})

    def best_value(self, metric: str) -> float | None:
        """The figure of the best evaluated round so far; None where nothing was kept by it, or by another spec."""
        if not (self.folder / BEST).exists():
            return None
        _, facts = read_arrays(self.folder / BEST)
        if facts["identity"] != self._identity or facts["best"]["metric"] != metric:
            return None
        return float(facts["best"]["value"])

    def _checkpoints(self) -> list[Path]:
        return checkpoints_in(self.folder)

    def _check(self, path: Path, identity: object) -> None:
        if identity != self._identity:
            raise CheckpointError(
                f"'{path.name}' belongs to another spec or architecture: continue with the spec that wrote it, "
                "or choose another output folder"
            )


def keep_plan(folder: Path, plan: StagePlan) -> None:
    """Write the plan with which a stage begins.

    Raises:
        CheckpointError: The disk is full or not writable.
    """
    with replacing(folder / PLAN) as temporary:
        temporary.write_text(plan.model_dump_json(), encoding="utf-8")


def kept_plan(folder: Path) -> StagePlan | None:
    """The plan with which a stage began; None if it has no checkpoint, or was begun before plans were kept.

    Raises:
        CheckpointError: The plan is damaged.
    """
    path = folder / PLAN
    if not (path.exists() and checkpoints_in(folder)):
        return None
    try:
        return StagePlan.model_validate_json(path.read_bytes())
    except ValidationError:
        raise CheckpointError(f"'{folder.name}/{PLAN}' is damaged: restore it from a copy, or remove it") from None


def read_final(path: Path) -> tuple[StagePlan, dict[str, Array]]:
    """The result of a finished stage: plan and whole weights.

    Raises:
        CheckpointError: The file is damaged.
    """
    arrays, facts = read_arrays(path)
    return StagePlan.model_validate(facts["plan"]), arrays


def newest_state(folder: Path) -> StageState:
    """The state that the newest checkpoint of a stage holds, to look at: whose stage it is, is not checked.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    paths = checkpoints_in(folder)
    if not paths:
        raise CheckpointError(f"stage '{folder.name}' has no checkpoint: run it first")
    return _state(*read_arrays(paths[-1]))


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of a stage, the newest last."""
    return sorted(folder.glob("checkpoint-*.safetensors"), key=lambda path: int(path.stem.rpartition("-")[2]))


def _state(arrays: Arrays, facts: Mapping[str, Any]) -> StageState:
    bases = {site: Base.model_validate(base) for site, base in facts["bases"].items()}
    return StageState(round=facts["round"], weights=under(WEIGHTS, arrays), bases=bases, report=facts["report"])


def _prefixed(prefix: str, arrays: Arrays) -> dict[str, Array]:
    return {prefix + name: array for name, array in arrays.items()}
