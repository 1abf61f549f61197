"""A small run over a real network, which is disturbed and must end with the weights of an undisturbed one."""

from pathlib import Path

from fedward_core.arrays import digest, read_arrays
from fedward_core.spec import Spec


def drill(rounds: int) -> Spec:
    """A rehearsal by two sites."""
    stage = {"name": "only", "method": "rehearsal", "rounds": rounds}
    cohort = {"min_sites": 2, "round_deadline_s": 300}
    values = {"name": "drill", "seed": 7, "dataset": {"name": "none"}, "cohort": cohort, "stages": [stage]}
    return Spec.parse({**values, "evaluate": {"every": rounds}})


def weights(run: Path) -> str:
    """The digest of what a finished run in this folder has come to."""
    return digest(read_arrays(run / "stages" / "only" / "final.safetensors")[0])
