"""The arms of a comparison: specs with names of their own, about the same data."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from fedward_cli.comparison.arm_runs import Plan
from fedward_core.cards import Task
from fedward_core.errors import SpecError
from fedward_core.spec import Spec


def read_arms(paths: Sequence[Path]) -> tuple[Spec, ...]:
    """Read specs as arms.

    Raises:
        SpecError: A spec is wrong, two have the same name, or they are about different images.
    """
    arms = tuple(Spec.read(path) for path in paths)
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise SpecError(
            f"each arm needs a name of its own, found {', '.join(names)}: change 'name' in one of the specs"
        )
    for arm in arms:
        _check_comparable(arms[0], arm)
    return arms


def check_names(arms: Sequence[Spec], plan: Plan) -> None:
    """Make sure that a plan names arms only.

    Raises:
        SpecError: It names what is no arm, or one arm twice.
    """
    names = [arm.name for arm in arms]
    for option, given in {"--alone": plan.alone, "--pooled": plan.pooled}.items():
        if unknown := sorted(given - set(names)):
            raise SpecError(f"{option} names {', '.join(unknown)}, which is no arm: expected one of {', '.join(names)}")
    if both := sorted(plan.alone & plan.pooled):
        raise SpecError(f"{', '.join(both)} cannot be trained alone and pooled: choose one")


def _check_comparable(first: Spec, arm: Spec) -> None:
    if arm.dataset.task is not Task.CLASSIFICATION:
        raise SpecError(f"arm '{arm.name}': expected the task classification, found {arm.dataset.task}")
    for name in ("cohort.sites", "dataset.name", "dataset.classes", "evaluate.split"):
        ours, theirs = (attrgetter(name)(spec) for spec in (first, arm))
        if ours != theirs:
            raise SpecError(f"arms '{first.name}' and '{arm.name}' can't be compared: {name} is {ours} and {theirs}")
