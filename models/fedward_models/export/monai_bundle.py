"""A model as a MONAI bundle, which MONAI loads without Fedward.

<bundle>/configs/metadata.json     what the network reads and gives
<bundle>/configs/inference.json    reads image files, standardises them, and writes their probabilities to a CSV file
<bundle>/models/model.pt2          the network, as torch.export writes it
<bundle>/models/model.pt           its numbers by name, for programs that have the network
<bundle>/docs/README.md            the model card

Source: the MONAI Bundle Specification, https://docs.monai.io/en/latest/mb_specification.html, for names of files and
mandatory keys.

Differs: MONAI resizes by linear interpolation, and Fedward averages over the pixels that it joins, so an image file of
another size gives slightly other probabilities. From the same standardised images both give the same.
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import torch

from fedward_core import __version__
from fedward_core.cards import DataKind, Task
from fedward_core.spec import Dataset
from fedward_models.export.network import check_equal, examples, traced
from fedward_models.inference.finished_model import FinishedModel


def write_bundle(model: FinishedModel, folder: Path, description: dict[str, Any]) -> None:
    """Write a bundle, and check that its network predicts what the trained one does.

    Args:
        model: The model.
        folder: Where.
        description: What is known of the model.

    Raises:
        CheckpointError: The written network predicts something else.
        SpecError: The model is no graph, or names no classes.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    path = folder / "models" / "model.pt2"
    torch.export.save(traced(model), path)
    torch.save(model.method.state_dict(), path.with_suffix(".pt"))
    _check(model, path)
    configs = {"metadata": _metadata(model, description), "inference": _inference(model, description)}
    for name, values in configs.items():
        (folder / "configs" / f"{name}.json").write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")


def _check(model: FinishedModel, path: Path) -> None:
    network = torch.export.load(path).module()
    for count in (1, 5):
        images = examples(model, count)
        with torch.no_grad():
            check_equal(model.method.predict(images), network(images).numpy(), where="the MONAI bundle")


def _metadata(model: FinishedModel, description: dict[str, Any]) -> dict[str, Any]:
    contract = model.plan.contract
    names = ("monai", "torch", "numpy")
    versions = {name: importlib.metadata.version(name) for name in names}
    spatial = list(model.input_shape[1:])
    segments = contract.task is Task.SEGMENTATION
    return {
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by Fedward {__version__}"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {},
        "optional_packages_version": {},
        "name": f"{model.spec.name} {model.stage.name}",
        "task": f"{contract.task} of {contract.kind}s",
        "description": "Trained by several sites whose images stayed with them; see docs/README.md for its limits.",
        "authors": "The sites that trained it, whose names are not told.",
        "copyright": "Not stated: ask whoever exported this bundle.",
        "intended_use": "Research only.",
        "spec_digest": description["spec_digest"],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "n/a",
                    "num_channels": contract.channels,
                    "spatial_shape": spatial,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(channel): "image" for channel in range(contract.channels)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image" if segments else "probabilities",
                    "format": "labels" if segments else "classes",
                    "modality": "n/a",
                    "num_channels": len(contract.classes),
                    "spatial_shape": spatial if segments else [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(number): name for number, name in enumerate(contract.classes)},
                }
            },
        },
    }


def _inference(model: FinishedModel, description: dict[str, Any]) -> dict[str, Any]:
    """A network for every kind of data; for single 8-bit images also how files become probabilities."""
    network = {
        "imports": ["$import glob", "$import torch"],
        "bundle_root": ".",
        "network": "$torch.export.load(@bundle_root + '/models/model.pt2').module()",
    }
    if model.plan.contract.kind is not DataKind.IMAGE or model.plan.contract.task is Task.SEGMENTATION:
        return network
    return network | _pipeline(model, description)


def _pipeline(model: FinishedModel, description: dict[str, Any]) -> dict[str, Any]:
    transforms: list[dict[str, Any]] = [
        # Pillow's axes are width and height unless they are reversed.
        {"_target_": "LoadImage", "image_only": True, "reader": "PILReader", "reverse_indexing": False},
        {"_target_": "EnsureChannelFirst"},
        *resizing(model.spec.dataset),
        {"_target_": "ScaleIntensityRange", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1, "clip": True},
        {"_target_": "NormalizeIntensity", "subtrahend": "@mean", "divisor": "@std"},
        {"_target_": "EnsureType", "dtype": "$torch.float32"},
    ]
    return {
        # Where they are not known they are not there, so that MONAI asks for them: null would be each image's own.
        **(description["standardisation"] or {}),
        "images": "$sorted(glob.glob(@bundle_root + '/images/*.png'))",
        "output_dir": "$@bundle_root + '/eval'",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "dataset": {"_target_": "Dataset", "data": "@images", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 32, "num_workers": 0},
        "saver": {"_target_": "CSVSaver", "output_dir": "@output_dir", "filename": "probabilities.csv"},
        "run": [
            "$[@saver.save_batch(@network(batch.as_tensor()).detach(), {'filename_or_obj': "
            "batch.meta['filename_or_obj']}) for batch in @dataloader]",
            "$@saver.finalize()",
        ],
    }


def resizing(dataset: Dataset) -> list[dict[str, Any]]:
    """MONAI's transforms that bring an image, (C, H, W), to the study's size and proportions."""
    px, how = dataset.image_px, {"_target_": "Resize", "mode": "bilinear", "anti_aliasing": False}
    if not dataset.keep_proportions:
        return [how | {"spatial_size": [px, px]}]
    return [
        how | {"spatial_size": px, "size_mode": "longest"},
        {"_target_": "ResizeWithPadOrCrop", "spatial_size": [px, px]},
    ]
