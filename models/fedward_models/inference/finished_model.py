"""A finished model, opened from the folder of a run.

<run>/spec.yaml                           of a run on this machine; spec.json in a download from a coordinator
<run>/stages/<stage>/final.safetensors    after the last round; best.safetensors after the best evaluated one
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError

from fedward_core.arrays import Arrays, read_arrays
from fedward_core.errors import CheckpointError, PrivateStateError, SpecError
from fedward_core.order import Base, Order, Work
from fedward_core.plan import StagePlan
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec, Stage
from fedward_models.building import build_method
from fedward_models.method import Method
from fedward_models.programs.program import Site
from fedward_models.programs.torch_program import TorchProgram

Weights = Literal["final", "best"]


@dataclass(frozen=True, kw_only=True)
class FinishedModel:
    """What a stage has trained.

    Attributes:
        spec: The run.
        index: The index of the stage.
        plan: The stage's form: classes, channels, notes.
        method: The model in evaluation mode, on the CPU.
        weights: Which of the stage's weights these are.
        is_of_a_site: Whether it is one site's own, with the parts that stayed there.
    """

    spec: Spec
    index: int
    plan: StagePlan
    method: Method
    weights: Weights = "final"
    is_of_a_site: bool = False

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.spec.stages[self.index]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example: (C, H, W), (C, D, H, W) for volumes or (C, T, H, W) for clips."""
        contract, px = self.plan.contract, self.spec.dataset.image_px
        grid = (px, px) if contract.depth is None else (contract.depth, px, px)
        return (contract.channels, *grid)

    @property
    def caveat(self) -> str:
        """What whoever uses the model must know; empty unless parts of it stayed at the sites."""
        if self.stage.personalise is None or self.is_of_a_site:
            return ""
        return (
            "Parts of the model are each site's own and stayed there. In their place stand averages: this is not the "
            "model of any site"
        )

    def check_classes(self) -> None:
        """Make sure that the model says something about images by itself.

        Raises:
            SpecError: It was trained without labels.
        """
        if not self.stage.method.needs_labels:
            raise SpecError(
                f"stage '{self.stage.name}' trains '{self.stage.method.name}' without labels, and names no classes "
                "outside of its run: choose a stage that reads labels, or train one that starts from it"
            )


def open_finished(
    run: Path, stage: str | None = None, weights: Weights = "final", *, kept: PrivateEntry | None = None
) -> FinishedModel:
    """Open what a run has trained, as a site that took no part in it would evaluate it, or as one that did.

    Args:
        run: The folder of a run, or of an unpacked download from a coordinator.
        stage: The stage's name; the last one by default.
        weights: Those after the last round, or those after the best evaluated one.
        kept: What a site has kept to itself after the stage's last round, for that site's own model.

    Raises:
        CheckpointError: The stage has no such weights yet, they are no stage's, or they were never trained.
        SpecError: The folder is no run's, the run has no such stage, it trains no network, or no site kept any of it.
        UpdateError: What was kept is of another stage or run.
    """
    spec = read_spec(run)
    index = _index(spec, stage)
    if spec.stages[index].method.runtime != "torch":
        raise SpecError(f"stage '{spec.stages[index].name}' trains no network: choose one that does")
    path = run / "stages" / spec.stages[index].name / f"{weights}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"stage '{spec.stages[index].name}' has no {weights} weights: {_WHY_ABSENT[weights]}")
    arrays, facts = read_arrays(path)
    plan = _plan(facts, path.name)
    if kept is None:
        round_ = _best_round(facts, path.name) if weights == "best" else spec.stages[index].rounds - 1
        method = _method(spec, index, plan, arrays, round_=round_)
        _refuse_what_stayed(method, spec, index, plan)
    else:
        method = _method_of_site(spec, index, plan, arrays, kept)
        _refuse_untrained(method, spec, index, plan)
    return FinishedModel(
        spec=spec, index=index, plan=plan, method=method.eval(), weights=weights, is_of_a_site=kept is not None
    )


def read_spec(run: Path) -> Spec:
    """The spec of a run's folder, or of an unpacked download.

    Raises:
        SpecError: There is none, or it is wrong.
    """
    for name in ("spec.yaml", "spec.json"):  # JSON is YAML too
        if (run / name).is_file():
            return Spec.read(run / name)
    shown = run.resolve().name  # of '.' too
    raise SpecError(f"'{shown}' holds no spec: expected the folder of a run, or of an unpacked download of one")


def _index(spec: Spec, stage: str | None) -> int:
    names = [each.name for each in spec.stages]
    if stage is None:
        return len(names) - 1
    if stage not in names:
        raise SpecError(f"run '{spec.name}' has no stage '{stage}': it has {', '.join(names)}")
    return names.index(stage)


def _plan(facts: Mapping[str, Any], name: str) -> StagePlan:
    try:
        return StagePlan.model_validate(facts["plan"])
    except (KeyError, ValidationError) as error:
        raise CheckpointError(
            f"'{name}' does not say which model its numbers are of: expected what a run has written, of this release "
            "or an earlier one"
        ) from error


def _best_round(facts: Mapping[str, Any], name: str) -> int:
    try:
        return int(facts["best"]["round"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"'{name}' does not say after which round its numbers were the best: expected what a run has written"
        ) from error


def _method(spec: Spec, index: int, plan: StagePlan, arrays: Arrays, *, round_: int) -> Method:
    """As it was evaluated after a round, counted from 0, whose share of channels may have been less than the last."""
    order = Order(run=spec.name, work=Work.EVALUATE, stage=index, round=round_, plan=plan)
    return TorchProgram(spec, index).personal(order, arrays, _site(None))


def _method_of_site(spec: Spec, index: int, plan: StagePlan, arrays: Arrays, kept: PrivateEntry) -> Method:
    stage, base = spec.stages[index], Base(round=kept.round, parent=kept.parent)
    if stage.personalise is None:
        raise SpecError(f"stage '{stage.name}' is not personalised: its model is that of every site, so leave this out")
    order = Order(run=spec.name, work=Work.EVALUATE, stage=index, round=kept.round, base=base, plan=plan)
    travelled, _ = plan.partition(stage.share_at(kept.round)).split(arrays)
    return TorchProgram(spec, index).personal(order, travelled, _site(kept))


def _site(kept: PrivateEntry | None) -> Site:
    return Site(name="", data=Path(), store=_Kept(kept))


def _refuse_untrained(method: Method, spec: Spec, index: int, plan: StagePlan) -> None:
    method.check_trained()
    initial, trained = build_method(spec, index, plan.contract).state_dict(), dict(method.named_parameters())
    if all(name not in initial or torch.equal(initial[name], tensor) for name, tensor in trained.items()):
        raise CheckpointError(
            f"no weight of stage '{spec.stages[index].name}' has moved since it was drawn: the model was never trained."
            " Train it for a step at a rate above zero"
        )


def _refuse_what_stayed(method: Method, spec: Spec, index: int, plan: StagePlan) -> None:
    """Of a personalised stage, what was trained may all have stayed at the sites."""
    personalise = spec.stages[index].personalise
    try:
        _refuse_untrained(method, spec, index, plan)
    except CheckpointError as error:
        if personalise is None:
            raise
        raise CheckpointError(
            f"what names classes in stage '{spec.stages[index].name}' stayed at the sites ('{personalise.name}'), so "
            "that there is no model for others: give what one of them has kept (--kept), for its own"
        ) from error


class _Kept:
    """The private state of a site whose stage is over, or that took no part in it and has none."""

    def __init__(self, entry: PrivateEntry | None) -> None:
        self._entry = entry

    def read(self, round_: int, parent: str) -> PrivateEntry:  # noqa: ARG002 - the signature of the family
        if self._entry is None:
            raise PrivateStateError("a finished model builds on no private state")
        return self._entry

    def write(self, entry: PrivateEntry) -> None:  # noqa: ARG002 - the signature of the family
        raise PrivateStateError("a finished model keeps no private state")


_WHY_ABSENT = {
    "final": "it has not come to its end. Let the run end first",
    "best": "set evaluate.best and evaluate.split: val in the spec, or take the final ones",
}
