"""Does CD2-pFed stay good whatever makes sites differ? It and its baselines under three kinds of skew, on digits.

    nice python -m benchmarks.experiments.cd2_skew --digits FOLDER --out FOLDER --seeds 0 1 2 3 4

    label      ten sites with at most five classes each, in training and test alike, and 30 training images
    feature    four real sources of digits, one a site (mnist, usps, optdigits, semeion), and 100 training images
    concept    ten sites that read the same digits differently: each moves the labels of four classes in a cycle, in
               training and test alike, and has 40 training images

Label and concept skew cut scikit-learn's 1,797 digits of 8 x 8 pixels; FOLDER holds the four sources as .npz files,
here at 16 x 16. Every finished cell is a line of <out>/cd2_skew.jsonl and is not run again.

Local is the accuracy of each site's own model after the last round on the site's own test images, over all of them.
The regret of an arm is how far it is below the best one under the same skew; the paper's message is that the worst
regret over the skews is small. All arms train 40 rounds of two epochs, but for fedrep, which trains its classifier for
two more. FedBN needs a network with norms: it is compared with fedavg_bn, plain averaging of the same network.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.federation import Site, digits, last_accuracies
from benchmarks.experiments.trial import Row, common_arguments, finish, parsed, records
from fedward_core.arrays import Array
from fedward_core.spec import Spec
from fedward_models.data.splitting.shards import shard_split

ROUNDS, LAST = 40, 5  # the rounds of a run, and those of fine-tuning in it
SITES, MOVED, CLASSES_PER_SITE = 10, 4, 5
TRAIN = {"label": 30, "feature": 100, "concept": 40}  # training images of a site
# Of the larger images, at 0.2 the classifier of fedrep trained until nothing of the network was left.
RATE = {"label": 0.2, "feature": 0.1, "concept": 0.2}
TEST = 300  # at most so many test images of a source, so that all weigh alike
SOURCES = ("mnist", "usps", "optdigits", "semeion")
CD2 = {"name": "channel_decoupling", "coupling": "rows", "temporal_averaging": None}
# What each arm keeps at the sites, and the norms of its network.
ARMS: dict[str, tuple[Any, str]] = {
    "fedavg": (None, "none"),
    "fedavg_bn": (None, "batch"),
    "fedavg_finetune": (None, "none"),
    "local": ("local_only", "none"),
    "fedper": ("fedper", "none"),
    "lg_fedavg": ({"name": "lg_fedavg", "private_layers": 2}, "none"),
    "fedbn": ("fedbn", "batch"),
    "fedrep": ({"name": "fedrep", "head_epochs": 2}, "none"),
    "cd2": ({**CD2, "distillation": 0.5}, "none"),
    "cd2_no_distillation": ({**CD2, "distillation": 0.0}, "none"),
}


def main() -> None:
    """Run what is missing, and print the table."""
    chosen = _arguments()
    os.environ.setdefault("FEDWARD_CACHE", str(chosen.out / "cache"))
    path, same = chosen.out / "cd2_skew.jsonl", {"rounds": chosen.rounds}
    for seed, skew, arm in product(chosen.seeds, chosen.skews, chosen.arms):
        cell = {"skew": skew, "arm": arm, "seed": seed, **same}
        finish(path, cell, partial(run, cell, chosen.digits))
    _show(records(path, same))


def run(cell: Row, source: Path) -> Row:
    """One arm under one skew: accuracy in per cent, over all test images and at the worst site."""
    started = time.process_time()
    values, counts = last_accuracies(spec_of(**cell), SKEWS[cell["skew"]](cell["seed"], source))
    return {
        "local": round(100 * float(np.average(values, weights=counts)), 2),
        "worst_site": round(100 * min(values), 2),
        "cpu_s": round(time.process_time() - started, 1),
    }


def spec_of(skew: str, arm: str, seed: int, rounds: int) -> Spec:
    """The whole run of a cell; fine-tuning takes its rounds from those of plain averaging."""
    personalise, norm = ARMS[arm]
    local = {
        "epochs": 2,
        "batch_size": 8,
        "optimizer": {"name": "sgd", "lr": RATE[skew], "momentum": 0.5},
        "optimizer_state": "reset",
    }
    backbone = {"name": "small_cnn", "widths": [16, 32], "hidden": [64], "norm": norm}
    train = {"name": "train", "method": "supervised", "backbone": backbone, "rounds": rounds, "local": local}
    stages = [{**train, "personalise": personalise}]
    if arm == "fedavg_finetune":
        last = {"name": "finetune", "method": "supervised", "start_from": "previous", "personalise": "local_only"}
        stages = [{**train, "rounds": rounds - LAST}, {**last, "rounds": LAST, "local": local}]
    return Spec.parse(
        {
            "name": f"skew-{arm.replace('_', '-')}",
            "seed": seed,
            "dataset": {
                "name": "digits",
                "image_px": 16 if skew == "feature" else 8,
                "standardisation": {"mean": 0.3, "std": 1.0},
            },
            "stages": stages,
            "evaluate": {"every": 1000, "bootstrap": 0},
        }
    )


def label_skew(seed: int, source: Path) -> Iterator[Site]:
    """Sites of few classes, by shards."""
    images, labels, train, test = digits(seed)
    parts = shard_split((labels[train], labels[test]), SITES, CLASSES_PER_SITE, seed)
    for number, (dealt, asked) in enumerate(parts):
        ours = train[dealt[: TRAIN["label"]]]
        rows = np.concatenate([ours, test[asked]])
        yield f"site-{number}", images[rows], labels[rows], len(ours)


def feature_skew(seed: int, source: Path) -> Iterator[Site]:
    """Sites that are sources."""
    rng = np.random.default_rng(seed)
    for name in SOURCES:
        with np.load(source / f"{name}.npz", allow_pickle=False) as file:
            images, labels, split = file["images"], file["labels"].astype(np.int64), file["split"]
        ours, asked = (rng.permutation(np.flatnonzero(split == part)) for part in ("train", "test"))
        rows = np.concatenate([ours[: TRAIN["feature"]], asked[:TEST]])
        yield name, images[rows], labels[rows], TRAIN["feature"]


def concept_shift(seed: int, source: Path) -> Iterator[Site]:
    """Sites that call four of the classes by each other's names."""
    images, labels, train, test = digits(seed)
    rng = np.random.default_rng(seed)
    for number, (ours, asked) in enumerate(
        zip(*(np.array_split(rng.permutation(part), SITES) for part in (train, test)), strict=True)
    ):
        meaning, moved = np.arange(10), rng.choice(10, MOVED, replace=False)
        meaning[moved] = np.roll(moved, 1)
        rows = np.concatenate([ours[: TRAIN["concept"]], asked])
        yield f"site-{number}", images[rows], meaning[labels[rows]], TRAIN["concept"]


SKEWS: dict[str, Callable[[int, Path], Iterator[Site]]] = {
    "label": label_skew,
    "feature": feature_skew,
    "concept": concept_shift,
}


def _show(rows: list[Row]) -> None:
    """Means and deviations over seeds, and regrets of the means; the least worst regret first."""
    means = {arm: {skew: _local(rows, arm, skew).mean() for skew in SKEWS} for arm in ARMS if _complete(rows, arm)}
    best = {skew: max((found[skew] for found in means.values()), default=0.0) for skew in SKEWS}
    regrets = {arm: {skew: best[skew] - found[skew] for skew in SKEWS} for arm, found in means.items()}
    print(f"\n| arm | seeds | {' | '.join(SKEWS)} | worst regret |\n|---|---|{'---|' * len(SKEWS)}---|")
    for arm in sorted(means, key=lambda arm: max(regrets[arm].values())):
        worst = max(SKEWS, key=lambda skew: regrets[arm][skew])
        cells = [f"{values.mean():.1f} ± {values.std():.1f}" for values in (_local(rows, arm, s) for s in SKEWS)]
        seeds = len(_local(rows, arm, worst))
        print(f"| {arm} | {seeds} | {' | '.join(cells)} | {regrets[arm][worst]:.1f} ({worst}) |")
    print("\nLocal accuracy %, mean ± standard deviation over seeds. Only arms with all three skews are ranked.")


def _local(rows: Iterable[Row], arm: str, skew: str) -> Array:
    return np.array([row["local"] for row in rows if (row["arm"], row["skew"]) == (arm, skew)])


def _complete(rows: list[Row], arm: str) -> bool:
    return all(len(_local(rows, arm, skew)) for skew in SKEWS)


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument("--digits", type=Path, required=True, help="the four sources, one .npz file each")
    parser.add_argument("--skews", nargs="+", choices=SKEWS, default=list(SKEWS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parsed(parser)


if __name__ == "__main__":
    main()
