"""Readers, splits, loaders and the generator of simulated hospitals.

    a folder  ->  site data (numpy)  ->  card, inspection            no torch: commands start fast
                                     ->  image set  ->  loader       torch

Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedward_models.data.batches.loader import Loader
    from fedward_models.data.card import describe
    from fedward_models.data.image_set import ImageSet, label_subset, open_split
    from fedward_models.data.inspection.heterogeneity import compare_sites
    from fedward_models.data.inspection.inspection import bad_files, inspect
    from fedward_models.data.inspection.listing import list_files
    from fedward_models.data.inspection.picture import inspect_picture
    from fedward_models.data.simulation.hospitals import generate
    from fedward_models.data.source import sites_in
    from fedward_models.data.splitting.dirichlet import dirichlet_split
    from fedward_models.data.splitting.pfllib import import_pfllib
    from fedward_models.data.splitting.pseudo_sites import split_dirichlet, split_site

_HOMES = {
    "ImageSet": "image_set",
    "Loader": "batches.loader",
    "bad_files": "inspection.inspection",
    "compare_sites": "inspection.heterogeneity",
    "describe": "card",
    "dirichlet_split": "splitting.dirichlet",
    "generate": "simulation.hospitals",
    "import_pfllib": "splitting.pfllib",
    "inspect": "inspection.inspection",
    "inspect_picture": "inspection.picture",
    "label_subset": "image_set",
    "list_files": "inspection.listing",
    "open_split": "image_set",
    "sites_in": "source",
    "split_dirichlet": "splitting.pseudo_sites",
    "split_site": "splitting.pseudo_sites",
}

__all__ = [
    "ImageSet",
    "Loader",
    "bad_files",
    "compare_sites",
    "describe",
    "dirichlet_split",
    "generate",
    "import_pfllib",
    "inspect",
    "inspect_picture",
    "label_subset",
    "list_files",
    "open_split",
    "sites_in",
    "split_dirichlet",
    "split_site",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
