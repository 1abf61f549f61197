"""Writes a finished model out, in one of three forms; each has what it needs in one folder.

safetensors    model.safetensors  model.json  README.md      numbers by name; for programs that have the network
onnx           model.onnx  model.json  README.md             checked against the trained model by ONNX Runtime
monai          a MONAI bundle: configs/, models/model.pt2, docs/README.md

The folder is written whole or not at all, and README.md is the model card.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fedward_core.errors import CheckpointError
from fedward_core.spec import Standardisation
from fedward_models.export.description import describe
from fedward_models.export.facts import RunFacts
from fedward_models.export.model_card import write_card
from fedward_models.export.monai_bundle import write_bundle
from fedward_models.export.onnx_file import write_onnx
from fedward_models.export.safetensors_file import write_safetensors
from fedward_models.inference.finished_model import FinishedModel

Format = Literal["safetensors", "onnx", "monai"]
CARD, DESCRIPTION = "README.md", "model.json"


def export(
    model: FinishedModel, facts: RunFacts, out: Path, *, form: Format, standardisation: Standardisation | None = None
) -> None:
    """Write a model into a folder of its own.

    Args:
        model: The model.
        facts: What its run has told.
        out: The folder; it must not exist.
        form: What is written.
        standardisation: That of the site which exports, to be written beside the model.

    Raises:
        CheckpointError: The folder exists, or the exported model predicts something else than the trained one.
        SpecError: The model cannot be written in this form.
    """
    if out.exists():
        raise CheckpointError(f"'{out.name}' exists: choose a new folder")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        description = describe(model, standardisation)
        _WRITERS[form](model, part, description)
        card, described = part / CARD, part / DESCRIPTION
        if form == "monai":
            card, described = part / "docs" / CARD, part / "docs" / DESCRIPTION
        card.write_text(write_card(model, facts, standardisation), encoding="utf-8")
        described.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


_WRITERS: dict[Format, Callable[[FinishedModel, Path, dict[str, object]], None]] = {
    "safetensors": write_safetensors,
    "onnx": write_onnx,
    "monai": write_bundle,
}
