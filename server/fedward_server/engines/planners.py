"""How a server without torch gets a stage's plan and first weights: from the models' side, here or in a short process.

The names of the models' side are resolved when they are needed, so that importing the server imports no torch.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fedward_core.arrays import Array, Arrays, read_arrays, write_arrays
from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.plan import StagePlan
from fedward_core.registry import load
from fedward_core.spec import Spec


def plan_here(
    spec: Spec, stage: int, contract: Contract, previous: Arrays | None
) -> tuple[StagePlan, dict[str, Array]]:
    """Plan in this process: for engines that train in it anyway."""
    program = load("fedward_models.programs.program:open_program")(spec, stage)
    plan: tuple[StagePlan, dict[str, Array]] = program.plan(contract, previous)
    return plan


def plan_in_process(
    spec: Spec, stage: int, contract: Contract, previous: Arrays | None
) -> tuple[StagePlan, dict[str, Array]]:
    """Plan in a process of its own, so that torch stays out of this one.

    Raises:
        SpecError: The parts of the stage do not fit each other; the message is the process's.
    """
    with tempfile.TemporaryDirectory(prefix="fedward-plan-") as name:
        folder = Path(name)
        request = {"spec": spec.model_dump(mode="json"), "stage": stage, "contract": contract.model_dump(mode="json")}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        if previous is not None:
            write_arrays(folder / "previous.safetensors", previous)
        command = [sys.executable, "-m", "fedward_models.programs.plan_process", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
        if done.returncode != 0:
            raise SpecError(
                f"the model of stage '{spec.stages[stage].name}' could not be built: {_last_line(done.stderr)}"
            )
        arrays, facts = read_arrays(folder / "planned.safetensors")
        return StagePlan.model_validate(facts["plan"]), arrays


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"
