"""Whether later stages fit, before the first one has cost anything."""

from fedward_core.arrays import Arrays
from fedward_core.cards import Contract
from fedward_core.errors import FedwardError
from fedward_core.spec import Spec
from fedward_models.programs.program import open_program


def check_later_stages(spec: Spec, contract: Contract, weights: Arrays) -> None:
    """Plan each from what the stage before begins with, not yet trained, and let go of the plan.

    Args:
        spec: The run.
        contract: What the sites agree on.
        weights: What the first stage begins with.

    Raises:
        FedwardError: What planning that stage raises, with its name.
    """
    for index, stage in enumerate(spec.stages[1:], start=1):
        previous = weights if stage.start_from == "previous" else None
        try:
            _, weights = open_program(spec, index).plan(contract, previous)
        except FedwardError as error:
            raise type(error)(f"stage '{stage.name}', which comes later, would fail: {error}") from error
