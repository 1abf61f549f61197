"""Every registered backbone can be written as a graph that ONNX Runtime reads where there is no Fedward.

``write_onnx`` itself compares the graph with the model before it counts; here a fresh process does so again.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core import registry
from fedward_core.cards import Contract, DataKind, DataNeed, Task
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_models.building import build_method, manifest_of, seeded
from fedward_models.export.network import TOLERANCE, examples
from fedward_models.export.onnx_file import write_onnx
from fedward_models.inference.finished_model import FinishedModel

pytest.importorskip("onnxscript")

IMAGE_PX, LENGTH = 32, 8
KINDS = {DataNeed.IMAGE: DataKind.IMAGE, DataNeed.VOLUME: DataKind.VOLUME, DataNeed.CLIP: DataKind.CLIP}
MONAI_RESNET: dict[str, Any] = {
    "network": "ResNet",
    "arguments": {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 16, 32], "no_max_pool": True},
}
SMALL: dict[str, dict[str, Any]] = {
    "vit": {"width": 24, "depth": 2, "heads": 3, "patch_px": 8},
    "beit_vit": {"width": 24, "depth": 2, "heads": 3, "patch_px": 8},
    "clip_vit": {"width": 24, "depth": 2, "heads": 3, "patch_px": 8, "features": 16},
    "minit": {"width": 24, "depth": 2, "heads": 3, "hidden": 16, "block_px": 16, "patch_px": 8},
    "monai": MONAI_RESNET,
    "monai_volume": MONAI_RESNET,
    "nit": {"width": 24, "depth": 2, "heads": 3, "hidden": 16},
    "preact_resnet": {"width": 4},
    "robust_cnn": {"width": 4, "depths": (1, 1, 2, 1), "patch_px": 4, "kernel_px": 3},
    "sts_resnet": {"width": 4, "depths": (1, 1), "stem": "small"},
    "timm": {"network": "test_resnet", "arguments": {"output_stride": 8}},
}
STRANGER = """
import sys
for name in ("core", "models", "client", "server", "cli"):
    sys.modules[f"fedward_{name}"] = None
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", providers=["CPUExecutionProvider"])
for count in (1, 4):
    found = session.run(["probabilities"], {"images": np.load(f"{sys.argv[1]}/images-{count}.npy")})[0]
    np.save(f"{sys.argv[1]}/found-{count}.npy", found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names("backbones"))
def test_a_stranger_reads_its_graph(name: str, tmp_path: Path) -> None:
    check_as_a_stranger(finished(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"frames": "apart", "sts": False}, {"network": "slowfast"}, {"network": "x3d", "width": 8}]
)
def test_a_stranger_reads_the_graph_of_every_network_of_clips(settings: dict[str, Any], tmp_path: Path) -> None:
    check_as_a_stranger(finished("sts_resnet", **settings), tmp_path)


UNET = {"network": "UNet", "arguments": {"channels": [4, 8], "strides": [2]}, "features": 6}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), [("clip_vit", {}), ("vit", {}), ("monai", UNET)])
def test_a_stranger_reads_the_graph_of_a_network_that_segments(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    check_as_a_stranger(finished(name, task=Task.SEGMENTATION, **settings), tmp_path)


METHODS: dict[str, dict[str, Any]] = {
    "fgsm_at": {"name": "fgsm_at", "epsilon": 0.01},
    "probe": {"name": "probe", "weights": "as_built"},
    "supervised with clips of clips": {"name": "supervised", "clips": {"frames": 4, "test_clips": 2, "crop_px": 16}},
}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "name"), [*zip(METHODS, ("preact_resnet", "vit", "sts_resnet"), strict=True)])
def test_a_stranger_reads_the_graph_of_every_method_that_names_classes(method: str, name: str, tmp_path: Path) -> None:
    check_as_a_stranger(finished(name, method=METHODS[method]), tmp_path)


@pytest.mark.slow
def test_a_stranger_reads_the_graph_of_a_network_of_several_findings(tmp_path: Path) -> None:
    check_as_a_stranger(finished("vit", task=Task.MULTI_LABEL), tmp_path)


def finished(
    name: str, *, task: Task = Task.CLASSIFICATION, method: str | dict[str, Any] = "supervised", **settings: Any
) -> FinishedModel:
    """A model whose head says something, as if it had been trained."""
    kind = KINDS[registry.resolve("backbones", name).need]
    grid = {DataKind.VOLUME: {"depth": IMAGE_PX}, DataKind.CLIP: {"frames": LENGTH}}.get(kind, {})
    stage = {
        "name": "train",
        "method": method,
        "backbone": {"name": name, **SMALL.get(name, {}), **settings},
        "rounds": 1,
    }
    dataset = {"name": "generated", "image_px": IMAGE_PX, "kind": kind, "task": task, **grid}
    spec = Spec.parse({"name": "study", "dataset": dataset, "stages": [stage]})
    length = {DataKind.VOLUME: IMAGE_PX, DataKind.CLIP: LENGTH}.get(kind)
    contract = Contract(kind=kind, task=task, classes=("a", "b", "c"), depth=length)
    built = build_method(spec, 0, contract).eval()
    with seeded(1), torch.no_grad():
        built.get_parameter("head.weight").normal_()
    plan = StagePlan(manifest=manifest_of(built), rules=built.rules(), contract=contract)
    return FinishedModel(spec=spec, index=0, plan=plan, method=built)


def check_as_a_stranger(model: FinishedModel, folder: Path) -> None:
    write_onnx(model, folder, {"spec_digest": model.spec.digest()})
    for count in (1, 4):
        np.save(folder / f"images-{count}.npy", examples(model, count).numpy())
    command = [sys.executable, "-c", STRANGER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for count in (1, 4):
        with torch.no_grad():
            expected = model.method.predict(examples(model, count)).numpy()
        found = np.load(folder / f"found-{count}.npy")
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= TOLERANCE
