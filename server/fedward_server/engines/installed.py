"""Whether a run can be carried out on this machine, told without importing what it needs.

A coordinator needs neither torch nor Ray for runs at enrolled sites, and may be installed without them.
"""

from importlib.util import find_spec

from fedward_core.errors import SpecError
from fedward_core.spec import Spec

EXTRAS = {"torch": "models", "ray": "simulation", "pyarrow": "distributed"}
# Ray Train asks for packages that Ray itself does without; pyarrow is one of them.
NEEDED = {"ray": {"ray"}, "ray_train": {"ray", "pyarrow"}}


def check_installed(engine: str, spec: Spec) -> None:
    """Refuse a run whose sites would be on this machine, if the machine lacks what they train with.

    Args:
        engine: The registered name of the engine.
        spec: What it would carry out.

    Raises:
        SpecError: A package is missing; the message says which extra brings it.
    """
    needed = set(NEEDED.get(engine, ()))
    if any(stage.method.runtime == "torch" for stage in spec.stages):
        needed.add("torch")
    for package in sorted(needed):
        if find_spec(package) is None:
            raise SpecError(
                f"engine '{engine}' would train on this machine, which has no {package}: submit the run to a study "
                f"with enrolled sites, or install Fedward with the extra '{EXTRAS[package]}' here"
            )
