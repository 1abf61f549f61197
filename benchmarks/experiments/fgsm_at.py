"""Do the tricks keep FGSM training from catastrophic overfitting, and what do they cost?

    nice python -m benchmarks.experiments.fgsm_at --seeds 0 1 2 3 4 --out FOLDER
    nice python -m benchmarks.experiments.fgsm_at --data CIFAR10 --steps 2000 --seeds 0 1 2 3 4 --out FOLDER

Without --data: scikit-learn's digits, enlarged to 16 pixels, 1,300 for training and 497 for testing, a radius of 0.15,
and three convolutions of 16, 32 and 64 channels. With --data, a folder with train.npz and test.npz (JPEG streams): the
first 10,000 images of CIFAR-10, never changed at random, 8/255, PreActResNet-18 of width 16, and 256 for testing; the
published size is fgsm_at_full's. Every finished arm is a line of <out>/fgsm_at.jsonl and is not run again.

    plain       FGSM from the image: expected to collapse
    mask, stride, smooth, penalty    one trick each; all: the four of them
    fgsm_rs, n_fgsm, grad_align      older remedies
    pgd         PGD training with 10 steps, and pgd_equal in the time of plain
    clean       no attack: the control

n test images each: accuracy clean, under FGSM, PGD (steps of a quarter of the radius; 20 of them from one random start,
on CIFAR-10 50 from each of ten) and Square with 200 queries, which reads no gradients.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.experiments.convolutions import Convolutions
from benchmarks.experiments.cost import drawn, median_ms, step_ms
from benchmarks.experiments.labelled import Labelled, digits, mean_over, read_labelled
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.steps import CPU, FASTEST, Steps, train
from benchmarks.experiments.tables import show, show_networks
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed, tower_digest
from fedward_core.cards import Contract
from fedward_core.robustness import FGSM_ACCURACY, PGD_ACCURACY, overfits_catastrophically
from fedward_models.attacks.square import Square
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.layers.activation import ActivationName, activation
from fedward_models.methods.fgsm_at.config import FGSMATConfig
from fedward_models.methods.fgsm_at.fgsm_at import FGSMAT
from fedward_models.methods.fgsm_at.pixel_space import classifier_of_pixels, pixels_of

TEN = tuple("0123456789")
PLAIN: dict[str, Any] = {"mask_ratio": 0.0, "first_layer_penalty": 0.0}
PENALTY = {"first_layer_penalty": 0.05}
# Settings of the method, then of the network.
ARMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "mask": ({"mask_ratio": 0.4}, {}),
    "stride": ({}, {"stem_stride": 2}),
    "smooth": ({}, {"activation": "silu"}),
    "penalty": (PENALTY, {}),
    "all": ({"mask_ratio": 0.4, **PENALTY}, {"stem_stride": 2, "activation": "silu"}),
    "fgsm_rs": ({"attack": "fgsm_rs"}, {}),
    "n_fgsm": ({"attack": "n_fgsm"}, {}),
    "grad_align": ({"grad_align": 0.2}, {}),
    "pgd": ({"attack": "pgd"}, {}),
    "pgd_equal": ({"attack": "pgd"}, {}),
    "clean": ({"epsilon": 0.0}, {}),
}
TRICKS, REMEDIES = ("mask", "stride", "smooth", "penalty", "all"), ("fgsm_rs", "n_fgsm", "grad_align", "pgd_equal")
PAIRS = (*((arm, "plain") for arm in (*TRICKS, *REMEDIES, "pgd")), *(("all", arm) for arm in (*REMEDIES, "pgd")))
PUBLISHED_PGD = {"evaluation_steps": 50, "evaluation_restarts": 10}  # the attack of the paper's tables
ATTACKED = (FGSM_ACCURACY, PGD_ACCURACY)
QUERIES = 200
EQUAL_TIME = 2 / 11  # passes of a plain step over those of PGD with 10 steps


def main() -> None:
    """Run every arm that is not finished, and print the table and the cost of a step."""
    arguments = _arguments()
    bench = Bench(arguments.data, arguments.steps)
    # The number of test images goes with the attack: rows of a weaker one on more images are other rows.
    same = {"data": bench.name, "steps": arguments.steps, "n": len(bench.test)}
    rows = carry_out("fgsm_at", arguments, bench.run, same=same)
    figures = ("clean", "fgsm", "pgd", "square")
    show(rows, figures, n=len(bench.test), chance=0.1, judged=figures)
    print(f"{bench.build('plain', 0).notes[0]}; Square with {QUERIES} queries")
    for figure in ("pgd", "square"):
        show_pairs(rows, figure, PAIRS)
    show_networks(rows, "network")
    for row in rows:
        if row["overfitted"]:
            print(f"catastrophic overfitting: {row['arm']}, seed {row['seed']}")
    bench.show_cost()


class Bench:
    """Data, networks and settings of one of the two experiments."""

    def __init__(self, folder: Path | None, steps: int) -> None:
        self.name, self.steps = ("digits", steps) if folder is None else ("cifar10", steps)
        self.epsilon = 0.15 if folder is None else 8 / 255
        self.batch_size = 64 if folder is None else 128
        self.attack = {} if folder is None else PUBLISHED_PGD
        self.train, self.test = _data(folder)

    def build(self, arm: str, seed: int) -> FGSMAT:
        """The arm's method, not yet trained."""
        settings, network = ARMS[arm]
        channels = self.train.pixels.shape[1]
        with seeded(seed):
            backbone = self._backbone(network)
            config = FGSMATConfig.model_validate({"epsilon": self.epsilon, **self.attack, **PLAIN, **settings})
            return FGSMAT(config, backbone=backbone, contract=Contract(classes=TEN, channels=channels))

    def run(self, arm: str, seed: int) -> Row:
        """Train and attack."""
        method, started = self.build(arm, seed), time.monotonic()
        count = max(round(self.steps * EQUAL_TIME), 1) if arm == "pgd_equal" else self.steps
        steps = Steps(data=self.train, num_steps=count, batch_size=self.batch_size)
        local = {
            "optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4},
            "schedule": {"shape": "cyclic"},
        }
        train(method, steps, seed=seed, local=local)
        seconds = time.monotonic() - started
        return {**self._scores(method.eval()), "own_steps": count, "seconds": round(seconds, 1)}

    def show_cost(self) -> None:
        """Milliseconds of a step of each arm beside the plain network's."""
        batch = self.train.batch(slice(0, self.batch_size))
        print(f"\n| a step of {self.batch_size} images, one thread | ms | over the network alone |\n|---|---|---|")
        methods = {arm: self.build(arm, 0) for arm in ARMS}
        cost = {arm: step_ms(method, drawn(method, batch)) for arm, method in methods.items()}
        network = _network_ms(methods["plain"], batch)
        print(f"| the network alone | {network:.1f} | 1.00 |")
        for arm, milliseconds in cost.items():
            print(f"| {arm} | {milliseconds:.1f} | {milliseconds / network:.2f} |")

    def _backbone(self, network: dict[str, Any]) -> Backbone:
        if self.name == "digits":
            return three_convolutions(**network)
        backbone: Backbone = PreActResNetConfig.model_validate({"width": 16, **network}).build(image_px=32, channels=3)
        return backbone

    def _scores(self, method: FGSMAT) -> Row:
        attacked = FGSMATConfig.model_validate({**method.config.model_dump(), "epsilon": self.epsilon})
        method.config = attacked  # the control was trained without an attack, and is attacked like the others
        method.to(FASTEST)
        fgsm, pgd = (self._mean(lambda batch, name=name: method.measures(batch)[name]) for name in ATTACKED)  # type: ignore[misc]
        return {
            "clean": round(self._mean(lambda batch: _right(method, batch, None)), 4),
            "fgsm": round(fgsm, 4),
            "pgd": round(pgd, 4),
            "square": round(self._mean(lambda batch: _right(method, batch, self.epsilon)), 4),
            "overfitted": overfits_catastrophically(fgsm_accuracy=fgsm, pgd_accuracy=pgd),
            "n": len(self.test),
            "network": tower_digest(method.to(CPU)),
        }

    def _mean(self, measure: Callable[[Batch], Tensor]) -> float:
        return mean_over(self.test, lambda batch: measure(batch.to(FASTEST)))


@torch.no_grad()
def _right(method: FGSMAT, batch: Batch, radius: float | None) -> Tensor:
    assert batch.labels is not None
    pixels, logits_of = pixels_of(batch), classifier_of_pixels(method, batch)
    if radius is not None:
        square = Square(radius=radius, queries=QUERIES)
        pixels = pixels + square.attack(logits_of, pixels, batch.labels, torch.Generator().manual_seed(0))
    return logits_of(pixels).argmax(dim=1) == batch.labels


def three_convolutions(*, stem_stride: int = 1, activation: ActivationName = "relu") -> Convolutions:
    """A network for images of 16 pixels: convolutions of 16, 32 and 64 channels with norms, and the mean of the map."""
    shapes = ((1, 16, stem_stride), (16, 32, 2), (32, 64, 2))
    return Convolutions(*(part for shape in shapes for part in _layer(*shape, activation)), num_features=64)


def _layer(inputs: int, outputs: int, stride: int, act: ActivationName) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), activation(act)


def _network_ms(method: FGSMAT, batch: Batch) -> float:
    def step() -> None:
        method.evaluation_loss(batch).mean().backward()  # type: ignore[no-untyped-call]

    return median_ms(step)


def _data(folder: Path | None) -> tuple[Labelled, Labelled]:
    """To train on, and to test on."""
    if folder is not None:
        return read_labelled(folder / "train.npz", 10_000), read_labelled(folder / "test.npz", 256)
    data = digits(16)
    return data.part(0, 1300), data.part(1300, len(data))


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10's train.npz and test.npz; digits without it")
    parser.add_argument("--steps", type=int, default=480, help="24 epochs of the digits")
    return parsed(parser)


if __name__ == "__main__":
    main()
