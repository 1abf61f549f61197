"""Do mixed images as extra positives give better features than the same framework without them?

    nice python -m benchmarks.experiments.sdmp --data FOLDER --steps 600 --out FOLDER
    nice python -m benchmarks.experiments.sdmp --data FOLDER --steps 300 --patch-px 8 --out FOLDER

Every finished arm is a line of <out>/sdmp.jsonl and is not run again. Differences are small, hence ten seeds. With
patches of 8 pixels an image has 16 tokens instead of 64, and a step costs a quarter.

    untrained          the network as it is initialised
    moco               MoCo v3, as many steps as sdmp
    moco_equal         MoCo v3 with as much work in passes: 9/4 as many steps
    naive              a mixed view against its own other view alone
    sdmp, sdmp_b       form a (the default) and form b
    sdmp_source        sdmp without mixed images against each other
    dino, sdmp_dino    the same on DINO, as many steps each
    dino_equal         DINO with as much work in passes as sdmp_dino
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiments.cost import show_draws_and_steps
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.pretraining import (
    ASKED,
    ImageData,
    features,
    nearest_probe,
    pretrain,
    read_parts,
    ridge_probe,
)
from benchmarks.experiments.steps import Steps
from benchmarks.experiments.tables import show, show_networks
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed, tower_digest
from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.data.batches.views import draw_view
from fedward_models.methods.sdmp.config import SDMPConfig
from fedward_models.methods.sdmp.sdmp import SDMP, Terms

CONTRACT = Contract(classes=tuple("0123456789"), channels=3)
VIT = {"width": 64, "depth": 4, "heads": 4}
MOCO = {"name": "moco", "hidden": 128, "width": 32}
DINO = {"name": "dino", "hidden": 128, "bottleneck": 32, "prototypes": 256}
BATCH, LR = 128, 1e-3
# Online passes count three times, with their backward: 2 online and 3 momentum passes against 1 and 1.
PASSES_SDMP, PASSES_MOCO = 2 * 3 + 3, 1 * 3 + 1


class Plain(SDMP):
    """The framework alone: the clean term, and no pass of a mixed image."""

    def terms(self, batch: Batch) -> Terms:
        """A view against the other one."""
        target = self.momentum(batch.drawn["second"])
        self.base.observe(target)
        own = torch.ones_like(batch.drawn["own"])
        clean = self.base.loss(self._query(batch.drawn["first"]), target, own)
        return Terms(clean=clean, source=torch.zeros_like(clean), mixed=torch.zeros_like(clean))


class Naive(SDMP):
    """Mixing as a mere augmentation: the mixed view must find its own other view."""

    def terms(self, batch: Batch) -> Terms:
        """A mix against the own image of the other view."""
        target = self.momentum(batch.drawn["first"])
        self.base.observe(target)
        own = torch.ones_like(batch.drawn["own"])
        clean = self.base.loss(self._query(batch.drawn["mixed_second"]), target, own)
        return Terms(clean=clean, source=torch.zeros_like(clean), mixed=torch.zeros_like(clean))


ARMS: dict[str, tuple[type[SDMP], dict[str, Any]]] = {
    "untrained": (SDMP, {}),
    "moco": (Plain, {}),
    "moco_equal": (Plain, {}),
    "naive": (Naive, {}),
    "sdmp": (SDMP, {}),
    "sdmp_b": (SDMP, {"base": {**MOCO, "form": "b"}}),
    "sdmp_source": (SDMP, {"mixed_weight": 0.0}),
    "dino": (Plain, {"base": DINO}),
    "dino_equal": (Plain, {"base": DINO}),
    "sdmp_dino": (SDMP, {"base": DINO}),
}
EQUAL_PASSES = ("moco_equal", "dino_equal")
PAIRS = (
    *(("sdmp", other) for other in ("moco", "moco_equal", "naive", "sdmp_source", "sdmp_b", "untrained")),
    ("naive", "moco"),
    *(("sdmp_dino", other) for other in ("dino", "dino_equal", "untrained")),
)


def main() -> None:
    """Run every arm that is not finished, and print the table and the cost of a step."""
    arguments = _arguments()
    data = _data(arguments.data)
    same = {"steps": arguments.steps, "patch_px": arguments.patch_px}
    rows = carry_out("sdmp", arguments, partial(_run, data, **same), same=same)
    show(rows, ("knn", "probe", "knn_degraded"), n=ASKED, chance=0.1)
    for figure in ("knn", "probe"):
        show_pairs(rows, figure, PAIRS)
    show_networks(rows)
    timed = {arm: _built(arm, 0, arguments.patch_px) for arm in ("moco", "sdmp", "dino", "sdmp_dino")}
    show_draws_and_steps(timed, data["train"].batch(slice(BATCH)))


def _run(data: dict[str, ImageData], arm: str, seed: int, *, steps: int, patch_px: int) -> Row:
    started, method = time.monotonic(), _built(arm, seed, patch_px)
    if arm in EQUAL_PASSES:
        steps = steps * PASSES_SDMP // PASSES_MOCO
    figures: dict[str, float] = {}
    if arm == "untrained":
        steps = 0
    else:
        batches = Steps(data=data["train"], num_steps=steps, batch_size=BATCH)
        figures = pretrain(method, batches, lr=LR, seed=seed, weight_decay=0.1)
    seconds = round(time.monotonic() - started)
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return {**_scores(method.eval(), data), "own_steps": steps, "seconds": seconds, **rounded}


def _built(arm: str, seed: int, patch_px: int) -> SDMP:
    kind, settings = ARMS[arm]
    with seeded(seed):
        backbone = ViTConfig.model_validate({**VIT, "patch_px": patch_px}).build(image_px=32, channels=3)
        config = SDMPConfig.model_validate({"base": MOCO, **settings})
        return kind(config, backbone=backbone, contract=CONTRACT)


def _scores(method: SDMP, data: dict[str, ImageData]) -> Row:
    known = features(method.features, data["known"].images)
    asked, degraded = (features(method.features, data[part].images) for part in ("asked", "degraded"))
    labels, truth = data["known"].labels, data["asked"].labels
    return {
        "knn": round(nearest_probe(known, labels, asked, truth), 4),
        "probe": round(ridge_probe(known, labels, asked, truth), 4),
        "knn_degraded": round(nearest_probe(known, labels, degraded, truth), 4),
        "n": len(asked),
        "tower": tower_digest(method.backbone),
    }


def _data(folder: Path) -> dict[str, ImageData]:
    parts = read_parts(folder)
    degraded = ImageData(images=_degraded(parts["asked"].batch(slice(None))), labels=parts["asked"].labels)
    return {**parts, "degraded": degraded}


def _degraded(batch: Batch) -> Tensor:
    """Blurred and noisy copies, always the same."""
    rng = torch.Generator().manual_seed(0)
    still = {"crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0], "flip": 0, "jitter": 0, "grey": 0}
    settings = ViewSettings.model_validate({**still, "blur": 1.0, "blur_px": [0.8, 0.8]})
    blurred = draw_view(batch, settings, rng)
    return blurred + 0.3 * torch.randn(blurred.shape, generator=rng)


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=10, arms=ARMS)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.npz and test.npz")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--patch-px", type=int, default=4)
    return parsed(parser)


if __name__ == "__main__":
    main()
