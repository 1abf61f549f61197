"""Does imitating a teacher make a small masked autoencoder better than its own reconstruction does?

    nice python -m benchmarks.experiments.dmae --data FOLDER --seeds 0 1 2 3 4 --steps 1600 --out FOLDER
    nice python -m benchmarks.experiments.dmae --data FOLDER --seeds 0 1 2 --steps 1600 --teacher-seed 0 --out FOLDER

Every finished arm is a line of <out>/dmae.jsonl and is not run again; teachers are kept beside it. Each seed has a
teacher of its own, or all have the one of --teacher-seed, a quarter of the time; differences then say nothing of other
teachers. Where masked autoencoding does not beat the untrained student by 5 points, nothing built on it counts.

    teacher            the ceiling, by masked autoencoding
    untrained          the student as it is initialised
    mae                the student by masked autoencoding, as many steps as dmae
    mae_equal          the same with the compute of the teacher's training and of dmae together
    dmae, dmae_10      weight of the alignment 1 (published) and 10
    dmae_random, dmae_random_10    the same with a teacher that was never trained: what alignment does by itself
    mae_95, dmae_95    95 % of the patches hidden
    dmae_last          the last blocks aligned
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.experiments.cost import flops, median_ms, show_draws_and_steps
from benchmarks.experiments.pairs import differences, show_pairs
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
from fedward_models.backbones.vit.vit import ViT
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.methods.dmae.config import DMAEConfig
from fedward_models.methods.dmae.dmae import DMAE
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE

STUDENT, TEACHER = {"width": 48, "depth": 4, "heads": 4}, {"width": 96, "depth": 8, "heads": 4}
DECODER: dict[str, Any] = {"decoder_width": 48, "decoder_depth": 2, "decoder_heads": 4}
CONTRACT = Contract(classes=tuple("0123456789"), channels=3)
BATCH, LR = 128, 1e-3
DISTILLED: dict[str, dict[str, Any]] = {
    "dmae": {},
    "dmae_10": {"alignment_weight": 10.0},
    "dmae_random": {},
    "dmae_random_10": {"alignment_weight": 10.0},
    "dmae_95": {"mask_ratio": 0.95},
    "dmae_last": {"taps": ((3, 7),)},
}
UNTRAINED_TEACHER = ("dmae_random", "dmae_random_10")
ARMS = ("teacher", "untrained", "mae", "mae_equal", *DISTILLED, "mae_95")
PAIRS = (
    ("mae", "untrained"),
    *(("dmae", other) for other in ("mae", "mae_equal", "dmae_random", "dmae_10", "dmae_last", "teacher")),
    *(("dmae_10", other) for other in ("mae", "mae_equal", "dmae_random_10", "teacher")),
    ("dmae_95", "mae_95"),
    ("dmae_95", "dmae"),
    ("mae_95", "mae"),
)
LEAST_GAIN = 0.05  # of masked autoencoding over the untrained student, for anything else to count


def main() -> None:
    """Run every arm that is not finished, and print the table and the cost of a step."""
    arguments = _arguments()
    data = read_parts(arguments.data)
    same = {name: getattr(arguments, name) for name in ("steps", "teacher_steps", "teacher_seed")}
    rows = carry_out("dmae", arguments, partial(_run, arguments, data), same=same)
    show(rows, ("probe", "knn"), n=ASKED, chance=0.1)
    for figure in ("probe", "knn"):
        show_pairs(rows, figure, PAIRS)
    _show_whether_it_counts(rows)
    show_networks(rows)
    _show_cost(data["train"].batch(slice(BATCH)))


def _show_whether_it_counts(rows: list[Row]) -> None:
    if gains := differences(rows, "probe", "mae", "untrained"):
        verdict = "what is built on it counts" if np.mean(gains) >= LEAST_GAIN else "no evidence"
        print(f"\nMasked autoencoding gains {np.mean(gains):+.3f} over the untrained student: {verdict}.")


def _run(arguments: argparse.Namespace, data: dict[str, ImageData], arm: str, seed: int) -> Row:
    started, train = time.monotonic(), data["train"]
    steps = _steps_of(arguments, train, arm)
    method = _built(arguments, train, arm, seed)
    figures: dict[str, float] = {}
    if arm not in ("teacher", "untrained"):
        figures = _pretrained(method, train, steps, seed)
    seconds = time.monotonic() - started
    rounded = {name: round(value, 5) for name, value in figures.items()}
    return {**_scores(method.backbone, data), "own_steps": steps, "seconds": round(seconds), **rounded}


def _built(arguments: argparse.Namespace, train: ImageData, arm: str, seed: int) -> MAE | DMAE:
    """The arm's method, not yet trained; a teacher is trained once, and read again."""
    if arm == "teacher":
        return _teacher(arguments, train, seed)
    if arm not in DISTILLED:
        return _mae(STUDENT, seed, mask_ratio=0.95 if arm == "mae_95" else 0.75)
    method = _dmae(seed, **DISTILLED[arm])
    if arm not in UNTRAINED_TEACHER:
        source = _teacher(arguments, train, seed)
        method.inherit(source.state_dict(), source)
    return method


def _teacher(arguments: argparse.Namespace, train: ImageData, seed: int) -> MAE:
    seed = seed if arguments.teacher_seed is None else arguments.teacher_seed
    path = arguments.out / f"teacher-{seed}-{arguments.teacher_steps}.safetensors"
    method = _mae(TEACHER, seed)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _pretrained(method, train, arguments.teacher_steps, seed)
        save_file({name: tensor.contiguous() for name, tensor in method.state_dict().items()}, path)
    method.load_state_dict(load_file(path))
    return method


def _pretrained(method: MAE | DMAE, train: ImageData, steps: int, seed: int) -> dict[str, float]:
    return pretrain(method, Steps(data=train, num_steps=steps, batch_size=BATCH), lr=LR, seed=seed)


def _mae(form: dict[str, Any], seed: int, *, mask_ratio: float = 0.75) -> MAE:
    with seeded(seed):
        backbone = ViTConfig(patch_px=4, **form).build(image_px=32, channels=3)
        config = MAEConfig(mask_ratio=mask_ratio, norm_pixels=False, **DECODER)
        return MAE(config, backbone=backbone, contract=CONTRACT)


def _dmae(seed: int, **settings: Any) -> DMAE:
    with seeded(seed):
        backbone = ViTConfig(patch_px=4, **STUDENT).build(image_px=32, channels=3)
        config = DMAEConfig.model_validate({"teacher": TEACHER, **DECODER, **settings})
        return DMAE(config, backbone=backbone, contract=CONTRACT)


def _steps_of(arguments: argparse.Namespace, train: ImageData, arm: str) -> int:
    """How many steps an arm's own network is trained."""
    if arm == "mae_equal":
        return _equal_steps(arguments, train.batch(slice(BATCH)))
    steps: int = {"untrained": 0, "teacher": arguments.teacher_steps}.get(arm, arguments.steps)
    return steps


def _equal_steps(arguments: argparse.Namespace, batch: Batch) -> int:
    """Student steps of masked autoencoding with the compute of teacher and distillation together."""
    spent = flops(_mae(TEACHER, 0), batch) * arguments.teacher_steps + flops(_dmae(0), batch) * arguments.steps
    return int(spent / flops(_mae(STUDENT, 0), batch))


def _scores(backbone: ViT, data: dict[str, ImageData]) -> Row:
    """Both probes on the mean of the patch tokens of whole images."""

    def encode(images: Tensor) -> Tensor:
        return backbone.encode(backbone.embed(images))[:, 1:].mean(dim=1)

    known, asked = (features(encode, data[part].images) for part in ("known", "asked"))
    labels = data["known"].labels, data["asked"].labels
    return {
        "probe": round(ridge_probe(known, labels[0], asked, labels[1]), 4),
        "knn": round(nearest_probe(known, labels[0], asked, labels[1]), 4),
        "n": len(asked),
        "tower": tower_digest(backbone),
    }


def _show_cost(batch: Batch) -> None:
    """Milliseconds of a step beside the plain network, and of a teacher that stops early beside one that does not."""
    # The plain network is the encoder on whole images; pre-training has no pooled features of its own.
    show_draws_and_steps({"mae": _mae(STUDENT, 0), "dmae": _dmae(0)}, batch)
    method, whole = _dmae(0), _dmae(0, taps=((2, 7),))
    mask = method.mask(method.hide(batch, torch.Generator().manual_seed(0)))
    early, late = (median_ms(partial(teacher, batch.images, mask)) for teacher in (method.teacher, whole.teacher))
    print(f"\nTeacher: {early:.1f} ms for blocks 0 to 5, {late:.1f} ms for all 8, {1 - early / late:.0%} saved.")


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.npz and test.npz")
    parser.add_argument("--steps", type=int, default=400, help="student steps")
    parser.add_argument("--teacher-steps", type=int, default=4000)
    parser.add_argument("--teacher-seed", type=int, help="one teacher for all seeds; without it, each has its own")
    return parsed(parser)


if __name__ == "__main__":
    main()
