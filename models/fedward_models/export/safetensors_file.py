"""A model's numbers by name, as safetensors; what they belong to stands in the header."""

import json
from pathlib import Path

from safetensors.torch import save_file

from fedward_models.inference.finished_model import FinishedModel


def write_safetensors(model: FinishedModel, folder: Path, description: dict[str, object]) -> None:
    """Write ``model.safetensors``: every entry of the method's state, e.g. ``backbone.pos_embed`` and ``head.weight``.

    Args:
        model: The model.
        folder: Where.
        description: Stored in the header, under ``model``.
    """
    state = {name: tensor.detach().contiguous().clone() for name, tensor in model.method.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"model": json.dumps(description)})
