"""Plans one stage in a process of its own: ``python -m fedward_models.programs.plan_process FOLDER``.

FOLDER/request.json, previous.safetensors (optional)  -->  FOLDER/planned.safetensors
"""

import json
import sys
from pathlib import Path

from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.cards import Contract
from fedward_core.errors import FedwardError
from fedward_core.spec import Spec
from fedward_models.programs.program import open_program


def main(folder: Path) -> None:
    """Read the request, plan, and write the plan and the first weights."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    previous = folder / "previous.safetensors"
    program = open_program(Spec.parse(request["spec"]), request["stage"])
    arrays = read_arrays(previous)[0] if previous.exists() else None
    plan, weights = program.plan(Contract.model_validate(request["contract"]), arrays)
    write_arrays(folder / "planned.safetensors", weights, {"plan": plan.model_dump(mode="json")})


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FedwardError as error:
        sys.exit(str(error))
