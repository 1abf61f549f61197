"""What the weights of a run are, stage by stage, and why any are absent: so that nobody takes one file for another."""

from typing import Any

from fedward_core.arrays import read_arrays
from fedward_core.errors import CheckpointError
from fedward_server.runs.folder import RunFolder

WHOLE = "the model of the federation"
PERSONALISED = "the shared part with the last averages of what became private: not any site's model"


def models_of(spec: dict[str, Any], folder: RunFolder) -> dict[str, Any]:
    """Notes on the final and best weights of each stage."""
    return {stage["name"]: _stage(spec, stage, folder) for stage in spec["stages"]}


def _stage(spec: dict[str, Any], stage: dict[str, Any], folder: RunFolder) -> dict[str, Any]:
    name = stage["name"]
    final = folder.final(name).is_file()
    return {
        "what": PERSONALISED if stage.get("personalise") else WHOLE,
        "final": {"present": final} if final else _absent("the stage did not come to its end"),
        "best": _best(spec["evaluate"].get("best"), folder, name),
    }


def _best(metric: str | None, folder: RunFolder, stage: str) -> dict[str, Any]:
    if metric is None:
        return _absent("the spec names no figure that chooses: set evaluate.best, and evaluate.split to val")
    if not folder.best(stage).is_file():
        return _absent(f"no round of the stage was evaluated with the figure '{metric}'; see the warnings of the run")
    try:
        _, facts = read_arrays(folder.best(stage))
    except CheckpointError as error:
        return _absent(str(error))
    return {"present": True, **facts["best"]}


def _absent(reason: str) -> dict[str, Any]:
    return {"present": False, "reason": reason}
