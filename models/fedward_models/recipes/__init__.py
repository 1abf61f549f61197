"""Published settings as whole specs, by name.

    ssl_fl_code/covid_fl_mae     what the released code of a paper runs
    ssl_fl_paper/covid_fl_mae    what the paper is reported to say, where the two differ; they are never mixed
    fgsm_at_tricks/mask          what a paper names without its strength, which is decided here

Each is a YAML file of this package, in which every value names its source. There is no torch here.
"""

from pathlib import Path

from fedward_core import registry
from fedward_core.errors import SpecError
from fedward_core.spec import Spec

_FOLDER = Path(__file__).parent


def recipes() -> dict[str, Path]:
    """The files of all recipes, by name, in alphabetical order."""
    paths = sorted(_FOLDER.glob("*/*.yaml"))
    return {path.relative_to(_FOLDER).with_suffix("").as_posix(): path for path in paths}


def read_recipe(name: str) -> Spec:
    """The spec of a recipe.

    Raises:
        SpecError: No such recipe; the message names the nearest one and all others.
    """
    found = recipes()
    if name not in found:
        raise SpecError(registry.unknown(f"recipe '{name}'", name, tuple(found)))
    return Spec.read(found[name])
