"""What an optimiser remembers, as plain arrays and facts that a site can keep between rounds.

    arrays   "<slot>/<parameter>", e.g. "exp_avg/backbone.cls_token": moments of the parameter's shape
    facts    the optimiser's class, the steps that each parameter has made, the state of the gradient scaler

With several phases every name begins with the number of its phase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from fedward_core.arrays import Array, Arrays, under
from fedward_core.errors import CheckpointError

STEP = "step"


@dataclass(frozen=True, kw_only=True)
class OptimizerState:
    """The memory of one optimiser, or of those of several phases.

    Attributes:
        arrays: Moments; on CPU they are the optimiser's own memory, not copies.
        facts: JSON values.
    """

    arrays: Arrays = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], scaler: torch.amp.GradScaler
    ) -> Self:
        """Take out what an optimiser remembers; it is not to be stepped any more."""
        arrays: dict[str, Array] = {}
        steps: dict[str, int] = {}
        for name, parameter in parameters.items():
            for slot, value in optimizer.state.get(parameter, {}).items():
                if slot == STEP:
                    steps[name] = int(value)
                elif isinstance(value, Tensor):
                    arrays[f"{slot}/{name}"] = value.detach().cpu().numpy()
        facts = {"optimizer": type(optimizer).__name__, "steps": steps, "scaler": scaler.state_dict()}
        return cls(arrays=arrays, facts=facts)

    def load_into(
        self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], scaler: torch.amp.GradScaler
    ) -> None:
        """Give a fresh optimiser this memory, copied, so that it goes on as if it had never stopped.

        Raises:
            CheckpointError: The memory is another optimiser's, or belongs to parameters of other names or shapes.
        """
        _check_class(optimizer, self.facts)
        for key, array in self.arrays.items():
            slot, _, name = key.partition("/")
            parameter = _fitting(parameters, name, array)
            optimizer.state[parameter][slot] = torch.tensor(array, device=parameter.device)
        for name, steps in self.facts["steps"].items():
            optimizer.state[_fitting(parameters, name)][STEP] = torch.tensor(float(steps))
        if self.facts["scaler"] and scaler.is_enabled():
            scaler.load_state_dict(dict(self.facts["scaler"]))

    @classmethod
    def joined(cls, phases: Sequence[Self]) -> Self:
        """The memories of all phases as one."""
        arrays = {f"{index}/{key}": array for index, phase in enumerate(phases) for key, array in phase.arrays.items()}
        return cls(arrays=arrays, facts={"phases": [dict(phase.facts) for phase in phases]})

    def parted(self, num_phases: int) -> tuple[Self, ...]:
        """The memory of each phase, out of a joined one.

        Raises:
            CheckpointError: It was joined from another number of phases.
        """
        facts = self.facts.get("phases", ())
        if len(facts) != num_phases:
            raise CheckpointError(
                f"the optimiser state holds {len(facts)} phases, expected {num_phases}: it was kept under another spec"
            )
        return tuple(
            type(self)(arrays=under(f"{index}/", self.arrays), facts=facts[index]) for index in range(num_phases)
        )


def _check_class(optimizer: torch.optim.Optimizer, facts: Mapping[str, Any]) -> None:
    expected, found = type(optimizer).__name__, facts.get("optimizer")
    if found != expected:
        raise CheckpointError(f"the optimiser state is of {found}, expected {expected}: it was kept under another spec")


def _fitting(parameters: Mapping[str, nn.Parameter], name: str, array: Array | None = None) -> nn.Parameter:
    if name not in parameters:
        raise CheckpointError(f"the optimiser state has an entry for '{name}', which is not trained here")
    parameter = parameters[name]
    if array is not None and array.shape != parameter.shape:
        raise CheckpointError(
            f"the optimiser state of '{name}' has shape {array.shape}, expected {tuple(parameter.shape)}"
        )
    return parameter
