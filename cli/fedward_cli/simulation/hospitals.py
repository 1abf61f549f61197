"""Where a command's hospitals come from: a folder with data, or the generator of simulated ones.

Imports of the data package happen here and on use, so that commands which read no data start without it.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from rich.markup import escape

from fedward_cli.display.consoles import tell
from fedward_core.cards import DataKind, DatasetCard, Task
from fedward_core.errors import DataError, SpecError
from fedward_core.spec import Dataset, Spec

RECIPE = "simulated.json"  # beside simulated hospitals: what they were made of
NUMBERED = ("class 0",)  # how the classes of a site begin that has numbers for labels and no names


def taking_part(data: Path, spec: Spec) -> tuple[str, ...]:
    """The sites of a folder that a spec's cohort names, in alphabetical order.

    Raises:
        DataError: The folder holds no site, or not all that the cohort names.
    """
    from fedward_models.data import sites_in

    found = sites_in(data)
    if spec.cohort.sites == "all":
        return found
    missing = sorted(set(spec.cohort.sites) - set(found))
    if missing:
        raise DataError(f"the data folder has no site {', '.join(missing)}: it has {', '.join(found)}")
    return tuple(sorted(spec.cohort.sites))


def only_site(data: Path | None) -> str:
    """The site that is meant where none is named: the only one of a folder, or the first of simulated hospitals.

    Raises:
        DataError: The folder has several sites.
    """
    from fedward_models.data import sites_in

    if data is None:
        from fedward_models.data.simulation.profile import PROFILES

        return PROFILES[0].name
    found = sites_in(data)
    if len(found) > 1:
        raise DataError(f"the data folder has several sites: choose one with --site, of {', '.join(found)}")
    return found[0]


def cards(data: Path, spec: Spec) -> tuple[DatasetCard, ...]:
    """The dataset card of every site that takes part."""
    from fedward_models.data import describe

    return tuple(describe(data, site, spec.dataset) for site in taking_part(data, spec))


def all_classes(data: Path, spec: Spec) -> tuple[str, ...]:
    """The classes of all sites that take part. A site that lacks one, e.g. the last, does not know of it by itself.

    Raises:
        DataError: Some sites name their classes and others number them.
    """
    named = sorted({card.contract.classes for card in cards(data, spec)}, key=len)
    longest = named[-1]
    if all(classes == longest[: len(classes)] for classes in named):
        return longest
    if any(classes[:1] == NUMBERED for classes in named):
        raise DataError("some sites name their classes and others number them: give every site a labels.csv with names")
    return tuple(sorted({name for classes in named for name in classes}))


def simulated(folder: Path, spec: Spec, *, images: int = 200) -> Path:
    """A folder with simulated hospitals for a spec; made if it does not exist.

    Raises:
        SpecError: The spec names classes that simulated hospitals do not have.
        DataError: The folder holds hospitals that were simulated for another spec, e.g. with smaller images.
    """
    _check_classes(spec.dataset)
    shown, recipe = escape(str(folder)), _recipe(spec, images)
    if folder.exists():
        _check_made_by(recipe, folder)
        tell(f"The simulated hospitals in '{shown}' are used.")
        return folder
    from fedward_models.data import generate

    tell(f"{recipe['sites']} hospitals are simulated in '{shown}'.")
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a start that was interrupted, perhaps with more sites
    generate(unfinished, **recipe)
    (unfinished / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    unfinished.rename(folder)
    return folder


def _recipe(spec: Spec, images: int) -> dict[str, Any]:
    return {
        "sites": max(3, spec.cohort.min_sites),
        "images_per_site": images,
        "image_px": spec.dataset.image_px,
        "kind": spec.dataset.kind,
        "depth": spec.dataset.depth or spec.dataset.frames,
    }


def _check_made_by(recipe: dict[str, Any], folder: Path) -> None:
    """Without a note the folder was filled by hand, or by an earlier version; it is used as it is."""
    if not (folder / RECIPE).exists():
        return
    try:
        found = dict(json.loads((folder / RECIPE).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"'{RECIPE}' in '{folder}' is damaged: remove that folder to have it made anew") from error
    if other := [name for name, value in recipe.items() if found.get(name) != value]:
        raise DataError(
            f"'{folder}' holds hospitals that were simulated for another spec, with {_listed(found, other)}; this one "
            f"asks for {_listed(recipe, other)}: remove that folder to have it made anew, or choose another place"
        )


def _listed(recipe: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name} {recipe.get(name)}" for name in names)


def _check_classes(dataset: Dataset) -> None:
    known = _classes_of(dataset)
    if dataset.classes and dataset.classes != known:
        raise SpecError(
            f"simulated hospitals have the classes {', '.join(known)}, the spec names {', '.join(dataset.classes)}: "
            "give --data with images of these"
        )


def _classes_of(dataset: Dataset) -> tuple[str, ...]:
    from fedward_models.data.simulation import heads, hearts, hospitals

    if dataset.kind is DataKind.VOLUME:
        return heads.MASKS if dataset.task is Task.SEGMENTATION else heads.CLASSES
    if dataset.kind is DataKind.CLIP:
        return hearts.CLASSES
    films = {
        Task.CLASSIFICATION: hospitals.CLASSES,
        Task.MULTI_LABEL: hospitals.FINDINGS,
        Task.SEGMENTATION: hospitals.MASKS,
    }
    return films[dataset.task]
