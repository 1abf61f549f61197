"""How engines whose sites are on this machine plan a stage: by the models' side, here or in a short process.

The names of the models' side are resolved when they are needed, so that importing the server imports no torch. Deployed
runs are planned at sites, see :mod:`fedward_server.rounds.site_planning`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.errors import SpecError
from fedward_core.plan import StagePlan
from fedward_core.registry import load
from fedward_server.rounds.planning import Planned, PlanRequest


def plan_here(request: PlanRequest) -> Planned:
    """Plan in this process: for engines that train in it anyway.

    Raises:
        SpecError: The parts of the stage do not fit each other, or its network would take too much memory.
    """
    program = load("fedward_models.programs.program:open_program")(request.job.spec, request.index)
    try:
        plan, weights = program.plan(request.contract, request.previous)
    except MemoryError as error:
        reason = str(error) or type(error).__name__
        raise SpecError(f"the model of stage '{request.stage.name}' could not be built: {reason}") from error
    return Planned(plan=plan, weights=weights)


def plan_in_process(request: PlanRequest) -> Planned:
    """Plan in a process of its own, so that torch stays out of this one.

    Raises:
        SpecError: The same; the message is the process's.
    """
    with tempfile.TemporaryDirectory(prefix="fedward-plan-") as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps(_facts(request)), encoding="utf-8")
        if request.previous is not None:
            write_arrays(folder / "previous.safetensors", request.previous)
        command = [sys.executable, "-m", "fedward_models.programs.plan_process", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
        if done.returncode != 0:
            raise SpecError(f"the model of stage '{request.stage.name}' could not be built: {_last_line(done.stderr)}")
        arrays, facts = read_arrays(folder / "planned.safetensors")
        return Planned(plan=StagePlan.model_validate(facts["plan"]), weights=arrays)


def _facts(request: PlanRequest) -> dict[str, object]:
    return {
        "spec": request.job.spec.model_dump(mode="json"),
        "stage": request.index,
        "contract": request.contract.model_dump(mode="json"),
    }


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"
