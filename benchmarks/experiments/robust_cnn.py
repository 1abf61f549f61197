"""Are patches, large kernels and few norms and activations what makes a network robust to corruption?

    nice python -m benchmarks.experiments.robust_cnn --data CIFAR10 --digits SITES --seeds 0 1 2 3 4 --out FOLDER

The eight corners of stem (convolutions with pooling, or 4 x 4 patches), kernel (3 or 7) and norms with activations
(everywhere, or one each a block), all of the block order ResNet-DW, and a vision transformer of about as many
parameters, by one recipe: AdamW with a cosine, label smoothing 0.1, images of CIFAR-10 mirrored by a coin. Only the
rate differs, 3e-3 for convolutions and 1e-3 for the transformer (decided here). Two arms learn from the other kind of
network beside the labels: the robust corner from the transformer, and the other way round. Every finished arm is a line
of <out>/robust_cnn.jsonl and is not run again.

CIFAR-10, n test images: accuracy clean, and the mean over the fifteen common corruptions at severities 1, 3 and 5.
With --digits, a folder with the npz files of sites: trained on one source of digits, tested on other images of it and
on the other sources. No digit is mirrored.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.experiments.cost import num_parameters, show_steps
from benchmarks.experiments.labelled import Labelled, accuracy, read_labelled
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.steps import Steps, train
from benchmarks.experiments.tables import by_arm, show
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed
from fedward_core.arrays import write_arrays
from fedward_core.cards import Contract
from fedward_core.seeds import derive_seed
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.robust_cnn.config import RobustCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.corruptions.corrupt import CORRUPTIONS, corruption_errors
from fedward_models.corruptions.error import mean_corruption_error, mean_error
from fedward_models.frozen import FOLDERS, FrozenWeights, file_digest
from fedward_models.methods.supervised.config import SupervisedConfig, TeacherConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.weights import arrays_of

TEN = tuple("0123456789")
SEVERITIES = (1, 3, 5)
CORNERS: dict[str, dict[str, Any]] = {
    f"{stem}_{kernel}_{'few' if few else 'many'}": {"stem": stem, "kernel_px": kernel, "few": few}
    for stem in ("conv", "patch")
    for kernel in (3, 7)
    for few in (False, True)
}
PLAIN, ROBUST, TRANSFORMER = "conv_3_many", "patch_7_few", "vit"
TAUGHT = {"cnn_from_vit": (ROBUST, TRANSFORMER), "vit_from_cnn": (TRANSFORMER, ROBUST)}
ARMS = (*CORNERS, TRANSFORMER, *TAUGHT)
PAIRS = (
    *((single, PLAIN) for single in ("patch_3_many", "conv_7_many", "conv_3_few")),
    *((ROBUST, other) for other in (PLAIN, TRANSFORMER)),
    *((taught, student) for taught, (student, _) in TAUGHT.items()),
)
BATCH = 100
KNOWN, ASKED = 3000, 1000  # digits of a source to train on, and to test on


class MirroredSteps(Steps):
    """The same batches, each image mirrored left to right by a coin."""

    def epoch(self, seed: int) -> Iterator[Batch]:
        """As its base's."""
        rng = torch.Generator().manual_seed(derive_seed(seed, "mirrored"))
        for batch in super().epoch(seed):
            coins = torch.rand(len(batch), generator=rng).view(-1, 1, 1, 1) < 0.5
            yield replace(batch, images=torch.where(coins, batch.images.flip(3), batch.images))


def main() -> None:
    """Run every arm that is not finished, and print the table and the cost of a step."""
    arguments = _arguments()
    data, sites = _data(arguments.data), _sites(arguments.digits) if arguments.digits else {}
    same = {"steps": arguments.steps, "digits": bool(sites)}
    with tempfile.TemporaryDirectory() as teachers:
        os.environ[FOLDERS] = teachers
        run = partial(_run, steps=arguments.steps, data=data, sites=sites)
        rows = carry_out("robust_cnn", arguments, run, same=same)
    figures = ("clean", "corrupted", *(("source", "shifted") if sites else ()))
    show(rows, figures, n=len(data["test"]), chance=0.1)
    for figure in figures:
        show_pairs(rows, figure, PAIRS)
    _show_corruptions(rows)
    methods = {arm: _method(arm, 0, data["train"]) for arm in (*CORNERS, TRANSFORMER)}
    show_steps(methods, data["train"].batch(slice(BATCH)))


def _run(arm: str, seed: int, *, steps: int, data: dict[str, Labelled], sites: dict[str, Labelled]) -> Row:
    started, test = time.monotonic(), data["test"]
    method = _trained(arm, seed, steps, data["train"], mirrored=True)
    errors = corruption_errors(
        lambda pixels: method.predict((pixels - test.mean) / test.std), test.pixels, test.labels, severities=SEVERITIES
    )
    figures = {
        "clean": round(1 - errors.clean, 4),
        "corrupted": round(1 - mean_error(errors.corrupted), 4),
        "by_corruption": {name: [round(error, 4) for error in found] for name, found in errors.corrupted.items()},
        "n": errors.n,
        "parameters": num_parameters(method),
    }
    return {**figures, **_shifted(arm, seed, steps, sites), "seconds": round(time.monotonic() - started, 1)}


def _shifted(arm: str, seed: int, steps: int, sites: dict[str, Labelled]) -> Row:
    """Trained on the first source of digits: accuracy on other images of it, on each other source, and their mean."""
    if not sites:
        return {}
    (first, source), *others = sites.items()
    method = _trained(arm, seed, steps, source.part(0, KNOWN), mirrored=False)
    parts = {first: source.part(KNOWN, KNOWN + ASKED), **{name: digits.part(0, ASKED) for name, digits in others}}
    found = {name: accuracy(method, part) for name, part in parts.items()}
    source_accuracy = found.pop(first)
    return {
        "shifted": round(float(np.mean(list(found.values()))), 4),
        "by_site": found,
        "source": source_accuracy,
        "n_by_site": {name: len(part) for name, part in parts.items()},
    }


def _trained(arm: str, seed: int, steps: int, data: Labelled, *, mirrored: bool) -> Supervised:
    student, teacher = TAUGHT.get(arm, (arm, None))
    taught = _as_teacher(teacher, _trained(teacher, seed, steps, data, mirrored=mirrored)) if teacher else None
    method = _method(student, seed, data, taught)
    local = {
        "optimizer": {"name": "adamw", "lr": 3e-3 if student in CORNERS else 1e-3, "weight_decay": 0.05},
        "schedule": {"shape": "cosine", "warmup_rounds": 0.1},
    }
    batches = (MirroredSteps if mirrored else Steps)(data=data, num_steps=steps, batch_size=BATCH)
    train(method, batches, seed=seed, local=local)
    return method.eval()


def _as_teacher(arm: str, method: Supervised) -> TeacherConfig:
    """A finished arm as sites hold a teacher: half of the loss, at temperature 1."""
    path = Path(os.environ[FOLDERS]) / f"{arm}.safetensors"
    write_arrays(path, arrays_of(method))
    return TeacherConfig(weights=FrozenWeights(name=arm, sha256=file_digest(path)), backbone=_backbone(arm))


def _method(arm: str, seed: int, data: Labelled, teacher: TeacherConfig | None = None) -> Supervised:
    with seeded(seed):
        channels, side = data.pixels.shape[1:3]
        backbone: Backbone = _backbone(arm).build(image_px=side, channels=channels)
        config = SupervisedConfig(label_smoothing=0.1, teacher=teacher)
        return Supervised(config, backbone=backbone, contract=Contract(classes=TEN, channels=channels))


def _backbone(arm: str) -> RobustCNNConfig | ViTConfig:
    if arm == TRANSFORMER:
        return ViTConfig(width=40, depth=2, heads=4, patch_px=4)
    patch = {"patch_px": 4} if CORNERS[arm]["stem"] == "patch" else {}
    sizes = {"width": 16, "depths": (2, 3), "strides": (1, 2), "drop_path": 0.0}
    return RobustCNNConfig.model_validate({"variant": "dw", **sizes, **patch, **CORNERS[arm]})


def _show_corruptions(rows: list[Row]) -> None:
    """Errors at each severity, and two means of them: the plain one, and that relative to the plain corner."""
    known = by_arm(rows)
    arms = [arm for arm in (PLAIN, ROBUST, TRANSFORMER) if arm in known]
    found = {arm: _mean_errors([row["by_corruption"] for row in known[arm]]) for arm in arms}
    print(f"\n| error in %, severities {SEVERITIES} | {' | '.join(arms)} |\n|---|{'---|' * len(arms)}")
    for name in CORRUPTIONS:
        print(f"| {name} | {' | '.join(', '.join(f'{e:.1f}' for e in found[arm][name]) for arm in arms)} |")
    print(f"| mean | {' | '.join(f'{mean_error(found[arm]):.1f}' for arm in arms)} |")
    if PLAIN in found:
        reference = {name: fmean(errors) for name, errors in found[PLAIN].items()}
        relative = (f"{mean_corruption_error(found[arm], reference):.1f}" for arm in arms)
        print(f"| mean corruption error, {PLAIN} = 100 | {' | '.join(relative)} |")


def _mean_errors(seeds: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """In percent, by corruption and severity."""
    return {
        name: [100 * fmean(errors) for errors in zip(*(seed[name] for seed in seeds), strict=True)]
        for name in CORRUPTIONS
    }


def _data(folder: Path) -> dict[str, Labelled]:
    return {"train": read_labelled(folder / "train.npz", 10_000), "test": read_labelled(folder / "test.npz", 1000)}


def _sites(folder: Path) -> dict[str, Labelled]:
    """Digits of every source, enlarged to 32 pixels; the source with the most images comes first."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
        pixels = torch.from_numpy(images).float()[:, None] / 255
        large = functional.interpolate(pixels, size=32, mode="bilinear", align_corners=False)
        found[path.stem] = Labelled(pixels=large, labels=torch.from_numpy(labels.astype(np.int64)), mean=0.2, std=0.3)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument("--data", type=Path, required=True, help="a folder with CIFAR-10's train.npz and test.npz")
    parser.add_argument("--digits", type=Path, help="a folder with one npz file of digits for each source")
    parser.add_argument("--steps", type=int, default=1000)
    return parsed(parser)


if __name__ == "__main__":
    main()
