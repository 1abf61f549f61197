"""Does CD2-pFed's first table come out on CIFAR-10: 100 sites of two classes, 10 in each round, the LG-FedAvg network?

    nice python -m benchmarks.experiments.cd2_table1 --data FOLDER --out FOLDER --rounds 1000 --seeds 0

One line of JSON is written to <out>/cells.jsonl for each finished cell. What was finished is not run again, and a cell
that was interrupted goes on from its last round.

Local: each site's own model after the last round, on the test images of its own classes. Best: of each site's
evaluations the best, chosen on the test images, so that it flatters. New: the mean prediction of all sites' models on
all test images, each standardised as its site does.

The paper takes its first rows from LG-FedAvg, whose released code differs (pliang279/LG-FedAvg, commit 7af0568). Its
Local is of each site's best evaluation on test images, of one after every round: set Best beside it, which has few to
choose from. As New it reports the predictions of all models' mean weights beside their mean prediction. Its list of
layers ends in both convolutions, so that these are what LG-FedAvg shares there; here it is what the paper says, the
layers above. FedAvg has 2,000 rounds, LG-FedAvg 1,200 and 200. Images are moved by up to 4 pixels, here by up to 3 and
changed in contrast and brightness too; and they are standardised alike at all sites.
"""

import argparse
import io
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.experiments.trial import Row, append, common_arguments, finish, parsed, records
from fedward_cli.simulation.personal_models import SimulatedRun
from fedward_core import registry
from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.errors import CheckpointError
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec
from fedward_models.data.reading.npz_file import write_npz
from fedward_models.data.source import sites_in
from fedward_models.data.splitting.shards import shard_split

SITES, PER_ROUND, CLASSES_PER_SITE = 100, 10, 2
SCORES = 4  # New is computed so often, the last round included
PAPER = {
    "fedavg": (58.99, 58.99),
    "local": (87.92, 10.03),
    "lg_fedavg": (91.77, 60.79),
    "fedper": (83.29, 57.77),
    "cd2": (91.82, 61.31),
    "cd2_block": (91.82, 61.31),
}
PERSONAL: dict[str, Any] = {
    "fedavg": None,
    "local": "local_only",
    # What is shared above the private layers is the last hidden layer and the classifier; not so in the released code.
    "lg_fedavg": {"name": "lg_fedavg", "private_layers": 3},
    "fedper": "fedper",
    "cd2": {"name": "channel_decoupling", "coupling": "rows"},
    "cd2_block": {"name": "channel_decoupling", "coupling": "block"},
}


Evaluation = dict[str, tuple[float, int]]
"""Accuracy and number of images of each site."""


def main() -> None:
    """Run every cell that is not finished, and print the table of all."""
    arguments = _arguments()
    os.environ.setdefault("FEDWARD_CACHE", str(arguments.out / "cache"))
    path = arguments.out / "cells.jsonl"
    for seed, method in product(arguments.seeds, arguments.methods):
        key = {"method": method, "seed": seed, "rounds": arguments.rounds, "spec": _settings(arguments, method)}
        finish(path, key, partial(_run, arguments, method, seed))
    _print([cell for method in arguments.methods for cell in records(path, {"spec": _settings(arguments, method)})])


def _settings(arguments: argparse.Namespace, method: str) -> str:
    """The digest of a cell's spec but for its seed, so that cells of other settings are neither read nor averaged."""
    return spec_of(method, 0, arguments.rounds, augment=not arguments.plain).digest()[:16]


def _run(arguments: argparse.Namespace, method: str, seed: int) -> Row:
    return Cell(arguments, method, seed).run()


@dataclass
class Cell:
    """One method with one seed.

    Attributes:
        arguments: The command line.
        method: A row of the table.
        seed: Cuts the sites, and seeds the run.
    """

    arguments: argparse.Namespace
    method: str
    seed: int

    def __post_init__(self) -> None:
        self.data = _cut(self.arguments.data, self.arguments.out / f"sites-{self.seed}", self.seed)
        self.spec = spec_of(self.method, self.seed, self.arguments.rounds, augment=not self.arguments.plain)
        self.out = self.arguments.out / f"{self.method}-{self.seed}-{_settings(self.arguments, self.method)}"
        self.last_stage = self.spec.stages[-1]
        self._evaluated: set[str | None] = set()

    def run(self) -> Row:
        """Run the cell, or take it up, to its end."""
        job = Job(
            spec=self.spec,
            run=self.out.name,
            sites=sites_in(self.data),
            data=self.data,
            out=self.out,
            workers=self.arguments.workers,
        )
        registry.resolve("engines", "inline")().run(job, self._listen)
        self._score(self.last_stage.rounds - 1)  # again if the process ended between the evaluation and its score
        scores = records(self.out / "scores.jsonl")
        if not scores or scores[-1]["round"] != self.last_stage.rounds:
            raise CheckpointError(
                f"'{self.out.name}' ended within its last evaluation: delete its folder, and run again"
            )
        rounds = [event for event in self._events() if event.kind is EventKind.ROUND_FINISHED]
        return {
            **scores[-1],
            "checkpoints": scores[:-1],
            "seconds": round(sum(event.facts["seconds"] for event in rounds)),
            "megabytes": round(sum(e.facts["bytes_sent"] + e.facts["bytes_received"] for e in rounds) / 1e6),
        }

    def _listen(self, event: Event) -> None:
        if event.kind is EventKind.ROUND_FINISHED:
            self._tell_pace(event)
        elif event.kind is EventKind.EVALUATED and event.stage == self.last_stage.name:
            self._evaluated.add(event.site)
            if len(self._evaluated) == SITES:
                self._evaluated.clear()
                self._score(event.round or 0)

    def _score(self, round_: int) -> None:
        """Write the score of a round down, once, when the evaluation of every site is there."""
        evaluations = self._evaluations()
        path, key = self.out / "scores.jsonl", {"round": round_ + 1}
        if len(evaluations.get(round_, {})) < SITES or records(path, key):
            return
        score = {**key, **figures_of(evaluations, round_), "new": round(100 * self._new(), 2)}
        append(path, score)
        print(f"{self.method} seed {self.seed}: {score}", flush=True)

    def _evaluations(self) -> dict[int, Evaluation]:
        """What the sites told, by the round of the last stage after which it was."""
        found: dict[int, Evaluation] = defaultdict(dict)
        for event in self._events():
            if event.kind is EventKind.EVALUATED and event.stage == self.last_stage.name:
                metric = event.facts["metrics"]["accuracy"]
                found[event.round or 0][event.site or ""] = metric["value"], metric["n"]
        return found

    def _events(self) -> list[Event]:
        lines = (self.out / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [Event.model_validate_json(line) for line in lines]

    def _new(self) -> float:
        images, labels = _read_images(self.arguments.data / "test.npz")
        ensemble = SimulatedRun(out=self.out, data=self.data).ensemble(self.last_stage.name)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        predicted = torch.cat([ensemble.predict(part).argmax(dim=1) for part in torch.split(pixels, 250)])
        return float((predicted.numpy() == labels).mean())

    def _tell_pace(self, event: Event) -> None:
        if ((event.round or 0) + 1) % max(self.arguments.rounds // 20, 1) == 0:
            pace = PER_ROUND / event.facts["seconds"]
            print(f"{self.out.name} {event.stage} round {(event.round or 0) + 1}: {pace:.1f} sites/s", flush=True)


def figures_of(evaluations: Mapping[int, Evaluation], round_: int) -> dict[str, float]:
    """In per cent, after a round: the accuracy over all images, that with each site's best so far, the worst site's."""
    values, counts = zip(*evaluations[round_].values(), strict=True)
    so_far = [evaluation for number, evaluation in evaluations.items() if number <= round_]
    best = [max(each[site][0] for each in so_far if site in each) for site in evaluations[round_]]
    return {
        "local": round(100 * float(np.average(values, weights=counts)), 2),
        "best": round(100 * float(np.average(best, weights=counts)), 2),
        "worst_site": round(100 * min(values), 2),
    }


def spec_of(method: str, seed: int, rounds: int, *, augment: bool) -> Spec:
    """The spec of a row; LG-FedAvg begins with six sevenths of plain averaging, as in its released code."""
    local = {
        "epochs": 1,
        "batch_size": 50,
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
        "optimizer_state": "reset",
        "augment": augment,
    }
    common = {"method": {"name": "supervised", "head_init": "uniform"}, "local": local}
    first = {**common, "name": "train", "backbone": "lenet", "rounds": rounds, "personalise": PERSONAL[method]}
    stages = [first]
    if method == "lg_fedavg":
        before = rounds * 6 // 7
        last = {**common, "name": "personalise", "start_from": "previous", "personalise": PERSONAL[method]}
        stages = [{**first, "rounds": before, "personalise": None}, {**last, "rounds": rounds - before}]
    return Spec.parse(
        {
            "name": f"cd2-table1-{method.replace('_', '-')}",
            "seed": seed,
            "cohort": {"sites_per_round": PER_ROUND, "min_sites": PER_ROUND},
            "dataset": {"name": "cifar10", "image_px": 32},
            "stages": stages,
            "evaluate": {"every": max(stages[-1]["rounds"] // SCORES, 1), "bootstrap": 0},
        }
    )


def _cut(source: Path, folder: Path, seed: int) -> Path:
    """Deal training and test images to the sites by one list of classes, once."""
    if not folder.exists():
        sets = {split: _read_images(source / f"{name}.npz") for split, name in _FILES.items()}
        classes = np.load(source / "train.npz", allow_pickle=False)["classes"]
        labels = tuple(labels for _, labels in sets.values())
        temporary = folder.with_name(f".{folder.name}.part")
        for number, parts in enumerate(shard_split(labels, SITES, CLASSES_PER_SITE, seed)):
            chosen = [(split, *sets[split], part) for split, part in zip(sets, parts, strict=True)]
            arrays = {
                "images": np.concatenate([images[part] for _, images, _, part in chosen]),
                "labels": np.concatenate([labels[part] for _, _, labels, part in chosen]),
                "split": np.concatenate([np.full(len(part), split.value) for split, _, _, part in chosen]),
                "classes": classes,
            }
            write_npz(temporary / f"site-{number:03d}.npz", arrays)
        temporary.rename(folder)
    return folder


_FILES = {Split.TRAIN: "train", Split.TEST: "test"}


def _read_images(path: Path) -> tuple[Array, Array]:
    """(N, 32, 32, 3) uint8 and (N,) class numbers of a file of JPEG streams end to end."""
    archive = np.load(path, allow_pickle=False)
    stream, offsets = archive["jpeg"].tobytes(), archive["offsets"]
    images = [np.asarray(Image.open(io.BytesIO(stream[start:end])).convert("RGB")) for start, end in pairwise(offsets)]
    return np.stack(images), archive["labels"]


def _print(cells: list[Row]) -> None:
    """Mean and standard deviation over the seeds, beside the paper's means."""
    print("| method | seeds | Local % | Best % | New % | paper Local | paper New |\n|---|---|---|---|---|---|---|")
    for method, (local, new) in PAPER.items():
        if found := [cell for cell in cells if cell["method"] == method]:
            ours = " | ".join(_spread(found, key) for key in ("local", "best", "new"))
            print(f"| {method} | {len(found)} | {ours} | {local} | {new} |", flush=True)


def _spread(cells: list[Row], key: str) -> str:
    values = [cell[key] for cell in cells if key in cell]  # cells of earlier versions lack some
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else "-"


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=1)
    parser.add_argument("--data", type=Path, required=True, help="train.npz and test.npz, JPEG streams end to end")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument(
        "--methods", nargs="+", choices=PERSONAL, default=[name for name in PERSONAL if name != "cd2_block"]
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that train side by side")
    parser.add_argument("--plain", action="store_true", help="train without augmentation")
    return parsed(parser)


if __name__ == "__main__":
    main()
