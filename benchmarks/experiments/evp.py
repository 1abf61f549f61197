"""Does a border of learned pixels adapt a frozen network to a shifted target, and what travels?

    nice python -m benchmarks.experiments.evp --seeds 0 1 2 3 4 --out FOLDER
    nice python -m benchmarks.experiments.evp --data CELLS --source CIFAR --seeds 0 1 2 3 4 --out FOLDER

A small vision transformer is trained against fixed random embeddings of the classes, on images of random size and
place, and is then frozen. Without --data: scikit-learn's digits at 24 pixels, 1,300 for training and 497 for testing;
the target is inverted in part along a ramp. With --data: white blood cells at 48 pixels without basophils. The network
is trained on 4,000 images of CIFAR-10, and the four of its classes that it names most often for the four kinds of cells
stand for them; or, without --source, on the other laboratory than the target. The figures in docs/zoo are of
--steps 100 --tower-steps 500. Every finished arm is a line of <out>/evp.jsonl and is not run again.

    source                  the network on what it was trained for: no control of the target
    zero_full, zero_shrunk  the target without a prompt, whole and shrunken (zero-shot)
    vp, vp_normalised       the prompt laid over the border of the whole image, by plain and by normalised steps
    raw, raw_lr10           the image shrunk and surrounded, plain steps at rates 1 and 10
    evp, evp_lr3            the same, normalised steps at rates 1 and 3
    evp_crop                evp with random crops
    linear                  ridge regression on the frozen features of shrunken images (linear probe)
    chance_labels           evp on labels drawn at random: the control, expected at chance

The network is a small one, trained for this at random sizes and places: what is shown is the mechanism, and not what a
prompt gives to a published CLIP.
"""

import argparse
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from benchmarks.experiments.cost import network_ms, num_parameters, step_ms
from benchmarks.experiments.evp_data import CELL_PX, LABORATORIES, blood_cells, disturbed, objects, shifted_digits
from benchmarks.experiments.labelled import Labelled
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.pretraining import ridge_scores
from benchmarks.experiments.steps import Steps, train
from benchmarks.experiments.tables import show, verdict
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed, tower_digest
from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.building import seeded
from fedward_models.frozen import FOLDERS, FrozenWeights, file_digest
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.evp import EVP
from fedward_models.methods.evp.matching import count_answers, match_classes
from fedward_models.methods.evp.tower import TextHead

SCALE, BATCH = 10.0, 130
OVERLAY, PLAIN = {"placement": "overlay"}, {"normalise_gradient": False}
# Settings of the method, the rate, and the momentum.
PROMPTS: dict[str, tuple[dict[str, Any], float, float]] = {
    "vp": ({**OVERLAY, **PLAIN}, 1.0, 0.9),
    "vp_normalised": (OVERLAY, 1.0, 0.0),
    "raw": (PLAIN, 1.0, 0.9),
    "raw_lr10": (PLAIN, 10.0, 0.9),
    "evp": ({}, 1.0, 0.0),
    "evp_lr3": ({}, 3.0, 0.0),
    "evp_crop": ({"crop": True}, 1.0, 0.0),
    "chance_labels": ({}, 1.0, 0.0),
}
ARMS = ("source", "zero_full", "zero_shrunk", *PROMPTS, "linear")
PAIRS = (
    *(
        ("evp", other)
        for other in ("zero_full", "zero_shrunk", "vp", "vp_normalised", "raw", "linear", "chance_labels")
    ),
    ("vp", "zero_full"),
    ("raw_lr10", "raw"),
    ("evp_lr3", "evp"),
    ("evp_lr3", "zero_shrunk"),
    ("evp_crop", "evp"),
)


def main() -> None:
    """Run every arm that is not finished, and print the table, what travels, and the cost of a step."""
    arguments = _arguments()
    bench = Bench(arguments)
    same = {"data": bench.name, "steps": arguments.steps, "tower_steps": arguments.tower_steps}
    rows = carry_out("evp", arguments, bench.run, same=same)
    target = [row for row in rows if row["arm"] != "source"]
    show(target, ("accuracy", "balanced", "largest"), n=len(bench.test), chance=bench.chance)
    print(f"Balanced over {bench.classes} classes: any one class for all images gets {1 / bench.classes:.3g}.")
    for figure in ("accuracy", "balanced"):
        show_pairs(target, figure, PAIRS)
    _show_towers(rows, {"source": bench.source_chance, "zero_full": bench.chance, "zero_shrunk": bench.chance})
    bench.show_cost(arguments.seeds[0])


def _show_towers(rows: list[Row], chances: dict[str, float]) -> None:
    """The frozen network of each seed, what it knows without a prompt, and where that is no more than guessing."""
    found = {(row["seed"], row["arm"]): row for row in rows}
    print("\n| seed | frozen network | on its source | zero-shot, whole | zero-shot, shrunken |\n|---|---|---|---|---|")
    for seed in sorted({row["seed"] for row in rows}):
        digests = sorted({row["tower"] for row in rows if row["seed"] == seed})
        told = [_known(found.get((seed, arm)), chance) for arm, chance in chances.items()]
        print(f"| {seed} | {', '.join(digests)} | {' | '.join(told)} |")


def _known(row: Row | None, chance: float) -> str:
    if row is None:
        return "not run"
    doubt = verdict(row["accuracy"], n=row["n"], chance=chance, untrained=None)
    return f"{row['accuracy']:.3f} of {row['n']}" + (f": {doubt}" if doubt else "")


class Bench:
    """Data, the frozen network of each seed, and the arms."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.name, self.canvas_px, self.margin_px, self.patch_px = _form(arguments)
        self.source, self.source_test, self.train, self.test = _data(arguments)
        self.source_classes, self.classes = (int(data.labels.max()) + 1 for data in (self.source, self.train))
        self.source_chance, self.chance = _most_frequent(self.source_test), _most_frequent(self.test)
        (arguments.out / "weights").mkdir(parents=True, exist_ok=True)
        os.environ[FOLDERS] = str(arguments.out / "weights")

    def run(self, arm: str, seed: int) -> Row:
        """One arm: accuracy, the prompt's largest value, and which network it was."""
        started, method = time.monotonic(), self.build(arm, seed)
        if arm in PROMPTS:
            self._train(method, arm, seed)
        asked = self.source_test if arm == "source" else self.test
        named = self._linear(method) if arm == "linear" else _named(method, asked)
        return {
            **_scores(named, asked.labels),
            "largest": round(float(method.prompt.border.detach().abs().max()), 2),
            "n": len(asked.labels),
            "tower": tower_digest(method.backbone.network),
            "seconds": round(time.monotonic() - started, 1),
        }

    def build(self, arm: str, seed: int) -> EVP:
        """The arm's method before its frozen network, with a prompt of zeros."""
        settings = dict(PROMPTS[arm][0]) if arm in PROMPTS else {}
        if arm in ("source", "zero_full"):
            settings = dict(OVERLAY)
        free_px = self.canvas_px - 2 * self.margin_px
        if settings.pop("crop", False):
            settings["crop_from_px"] = free_px + free_px // 8
        weights, embeddings = self._tower(seed, of="source" if arm == "source" else "target")
        config = EVPConfig.model_validate(
            {"weights": weights, "head": "text", "embeddings": embeddings, "image_px": free_px, "flip": 0.0, **settings}
        )
        names = tuple(str(number) for number in range(self.source_classes if arm == "source" else self.classes))
        return EVP(config, backbone=self._network(), contract=Contract(classes=names, channels=self._channels))

    def show_cost(self, seed: int) -> None:
        """Bytes that travel in a round, and milliseconds of a step beside the plain network's."""
        method, batch = self.build("evp", seed), self.train.batch(slice(0, BATCH))
        network = method.backbone.network
        for what, values in (
            ("the prompt", method.prompt.border.numel()),
            ("a linear probe", self.classes * (network.num_features + 1)),
            ("the whole network", num_parameters(network)),
        ):
            print(f"{what}: {4 * values} bytes a round")
        ours, theirs = step_ms(method, batch), network_ms(self._network(), batch.images)
        print(f"a step of {len(batch)} images: {ours:.1f} ms; the plain network, all trained: {theirs:.1f} ms")

    @property
    def _channels(self) -> int:
        return self.train.pixels.shape[1]

    def _network(self) -> ViT:
        config = ViTConfig(width=48, depth=2, heads=4, patch_px=self.patch_px)
        return ViT(config, image_px=self.canvas_px, channels=self._channels)

    def _train(self, method: EVP, arm: str, seed: int) -> None:
        _, lr, momentum = PROMPTS[arm]
        data = self.train
        if arm == "chance_labels":
            drawn = torch.randint(self.classes, data.labels.shape, generator=torch.Generator().manual_seed(seed))
            data = replace(data, labels=drawn)
        steps = Steps(data=data, num_steps=self.arguments.steps, batch_size=min(BATCH, len(data)))
        local = {"optimizer": {"name": "sgd", "lr": lr, "momentum": momentum}, "schedule": {"shape": "cosine"}}
        train(method, steps, seed=seed, local=local)

    def _linear(self, method: EVP) -> Tensor:
        with torch.no_grad():
            known, asked = (method.backbone(method.prompted(d.batch(slice(None)))) for d in (self.train, self.test))
        return ridge_scores(known, self.train.labels, asked).argmax(dim=1)

    def _tower(self, seed: int, *, of: str) -> tuple[FrozenWeights, FrozenWeights]:
        """A seed's frozen network, and embeddings of the classes of its ``source`` or of the ``target``, as files."""
        stem = f"{self.name.replace(' ', '-')}-{self.arguments.tower_steps}-{seed}"
        folder = self.arguments.out / "weights"
        files = {part: folder / f"{stem}-{part}.safetensors" for part in ("tower", "source", "target")}
        if not all(file.exists() for file in files.values()):
            with seeded(seed):
                network, texts = self._network(), torch.randn(self.source_classes, 48)
                self._train_tower(network, head := TextHead(texts, scale=SCALE), seed)
            save_file(network.state_dict(), files["tower"])
            for part, rows in (("source", texts), ("target", texts[list(self._matched(network, head))])):
                save_file({"embeddings": rows, "logit_scale": torch.tensor(math.log(SCALE))}, files[part])
        tower, embeddings = (
            FrozenWeights(name=files[part].stem, sha256=file_digest(files[part])) for part in ("tower", of)
        )
        return tower, embeddings

    @torch.no_grad()
    def _matched(self, network: ViT, head: TextHead) -> tuple[int, ...]:
        """Which of the source's classes stands for each of the target's."""
        if self.source_classes == self.classes:
            return tuple(range(self.classes))
        answers = [(head(network(self.train.pixels)), self.train.labels)]
        return match_classes(count_answers(answers, classes=self.classes, source_classes=self.source_classes))

    def _train_tower(self, network: ViT, head: TextHead, seed: int) -> None:
        optimizer, rng = torch.optim.AdamW(network.parameters(), lr=1e-3), torch.Generator().manual_seed(seed)
        for _ in range(self.arguments.tower_steps):
            chosen = torch.randint(len(self.source), (128,), generator=rng)
            images = disturbed(self.source.pixels[chosen], self.canvas_px, rng)
            loss = functional.cross_entropy(head(network(images)), self.source.labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _form(arguments: argparse.Namespace) -> tuple[str, int, int, int]:
    """What the trial is called, and pixels of the canvas, of its margin and of a patch."""
    if arguments.data is None:
        return "digits", 24, 4, 4
    return f"{'cifar' if arguments.source else 'wbc'} to {arguments.target}", CELL_PX, 8, 8


def _data(arguments: argparse.Namespace) -> tuple[Labelled, Labelled, Labelled, Labelled]:
    """Train and test of what the network is trained on, then of the target."""
    if arguments.data is None:
        return shifted_digits()
    targets = LABORATORIES if arguments.target == "both" else (arguments.target,)
    others = (name for name in LABORATORIES if name not in targets)
    source = objects(arguments.source) if arguments.source else blood_cells(arguments.data, *others)
    return (*source, *blood_cells(arguments.data, *targets))


def _most_frequent(data: Labelled) -> float:
    """What always naming the most frequent class reaches."""
    return float(torch.bincount(data.labels).max() / len(data.labels))


@torch.no_grad()
def _named(method: EVP, data: Labelled) -> Tensor:
    """(N,), the class that the prompted network names."""
    parts = (data.batch(slice(at, at + BATCH)) for at in range(0, len(data.pixels), BATCH))
    return torch.cat([method.predict_batch(part).argmax(dim=1) for part in parts])


def _scores(named: Tensor, labels: Tensor) -> dict[str, float]:
    """Over all images, and over classes, so that naming the most frequent class gains nothing."""
    right = (named == labels).float()
    by_class = [right[labels == number].mean() for number in set(labels.tolist())]
    return {
        "accuracy": round(float(right.mean()), 4),
        "balanced": round(float(torch.stack(by_class).mean()), 4),
    }


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument(
        "--data", type=Path, help="a folder with <laboratory>.npz of white blood cells; digits without it"
    )
    parser.add_argument("--source", type=Path, help="with --data: a folder of CIFAR-10, to train the network on")
    parser.add_argument("--target", choices=(*LABORATORIES, "both"), default="both")
    parser.add_argument("--steps", type=int, default=250, help="of the prompt: 25 epochs of the digits")
    parser.add_argument("--tower-steps", type=int, default=600, help="of the network: 60 epochs of the digits")
    arguments = parsed(parser)
    if arguments.data and not arguments.source and arguments.target == "both":
        parser.error("without --source the network is trained on a laboratory: name the other one as --target")
    return arguments


if __name__ == "__main__":
    main()
