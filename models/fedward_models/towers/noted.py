"""How a frozen classifier was trained, as Fedward noted it beside its weights; files of others note nothing."""

from collections.abc import Mapping
from typing import Any

from fedward_models.frozen import FrozenWeights, noted_beside
from fedward_models.towers.features import NOT_POOLED_NOTE
from fedward_models.towers.standards import STANDARDS, standard_note

_SITE = "site"


def reads_class_token(weights: FrozenWeights) -> bool:
    """Whether its head was trained on the class token, and not on pooled features.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    noted = noted_beside(weights)
    method = noted.get("model", {}).get("method", {})
    return NOT_POOLED_NOTE in noted.get("plan", {}).get("notes", ()) or method.get("features") == "class_token"


def standard_of_training(weights: FrozenWeights) -> str | None:
    """What its pixels were standardised by: a name in ``STANDARDS``, ``site``, or None where nothing is noted.

    A stage tells a standard that is not the site's, and so does the description of an exported model.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    noted = noted_beside(weights)
    if "plan" in noted:
        notes = noted["plan"].get("notes", ())
        return next((standard for standard in STANDARDS if standard_note(standard) in notes), _SITE)
    return _standard_of_model(noted["model"]) if "model" in noted else None


def _standard_of_model(model: Mapping[str, Any]) -> str:
    """Where the method has the setting, null is CLIP's for its tower, and else the site's."""
    method = model.get("method", {})
    backbone = model.get("backbone") or {}  # null where the method has none
    clip = "normalisation" in method and backbone.get("name") == "clip_vit"
    return str(method.get("normalisation") or ("clip" if clip else _SITE))
