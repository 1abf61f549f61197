"""Does masked pre-training within a federation help the few labels that it has? SSL-FL on handwritten digits.

    nice python -m benchmarks.experiments.ssl_fl_toys --seeds 0 1 2 --out FOLDER

Five sites with strong label skew (Dirichlet 0.1, sizes uncapped) share scikit-learn's 1,797 digits of 8 x 8 pixels; a
tenth of each site's labels is used. Every finished arm is a line of <out>/ssl_fl_toys.jsonl and is not run again.

    scratch        60 rounds of fine-tuning from the first state
    scratch_140    140 rounds: as many as mae and beit have in all
    mae            80 rounds of Fed-MAE, then the same 60
    beit           80 rounds of Fed-BEiT with the substitute tokenizer, then the same 60
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.experiments.federation import Site, digits, last_accuracies
from benchmarks.experiments.tables import show
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed
from fedward_core.arrays import Array
from fedward_core.spec import Spec

SITES, MINIMUM, ALPHA = 5, 10, 0.1
PRE_TRAINING, FINE_TUNING, LONGER = 80, 60, 140
VIT = {"name": "vit", "width": 48, "depth": 3, "heads": 4, "patch_px": 2, "mlp_ratio": 2.0}
MAE = {"name": "mae", "mask_ratio": 0.6, "norm_pixels": False, "decoder_width": 32, "decoder_depth": 1}
BEIT = {"name": "beit", "mask_ratio": 0.4, "tokenizer": {"name": "patch_codebook", "vocabulary": 32}}
BEIT_VIT = {**VIT, "name": "beit_vit"}
ARMS: dict[str, tuple[dict[str, Any] | None, dict[str, Any], int]] = {
    "scratch": (None, VIT, FINE_TUNING),
    "scratch_140": (None, VIT, LONGER),
    "mae": (MAE, VIT, FINE_TUNING),
    "beit": (BEIT, BEIT_VIT, FINE_TUNING),
}


def main() -> None:
    """Run what is missing, and print the table."""
    rows = carry_out("ssl_fl_toys", parsed(common_arguments(__doc__, seeds=3, arms=ARMS)), run)
    *_, test = digits(0)
    show(rows, ("accuracy",), n=len(test), chance=0.1)


def run(arm: str, seed: int) -> Row:
    """One arm: the accuracy of the last round on the whole test set, of which each site evaluates a part."""
    started = time.process_time()
    values, counts = last_accuracies(spec_of(arm, seed), skewed_sites(seed))
    seconds = time.process_time() - started
    return {"accuracy": float(np.average(values, weights=counts)), "cpu_s": round(seconds, 1)}


def spec_of(arm: str, seed: int) -> Spec:
    """The whole run of an arm."""
    method, backbone, rounds = ARMS[arm]
    finetune = {"name": "finetune", "method": {"name": "supervised", "label_smoothing": 0.1}, "rounds": rounds}
    pretrain = {"name": "pretrain", "method": method, "backbone": backbone, "rounds": PRE_TRAINING}
    start = {"start_from": "previous"} if method else {"backbone": backbone}
    stages = [{**finetune, **start, "local": local(batch_size=16)}]
    return Spec.parse(
        {
            "name": "toy",
            "seed": seed,
            "dataset": {"name": "digits", "image_px": 8, "label_fraction": 0.1},
            "stages": [{**pretrain, "local": local(batch_size=64)}, *stages] if method else stages,
            "evaluate": {"every": 1000, "bootstrap": 0},
        }
    )


def local(*, batch_size: int) -> dict[str, Any]:
    """The same training in both stages."""
    return {
        "batch_size": batch_size,
        "clip_norm": 3.0,
        "optimizer": {"name": "adamw", "lr": 0.002, "betas": [0.9, 0.95], "weight_decay": 0.05},
        "schedule": {"shape": "cosine", "warmup_rounds": 5},
    }


def skewed_sites(seed: int) -> Iterator[Site]:
    """Sites with their training images and a fifth of the test images each."""
    images, labels, train, test = digits(seed)
    parts = skewed_parts(labels[train], np.random.default_rng(seed))
    for index, (part, asked) in enumerate(zip(parts, np.array_split(test, SITES), strict=True)):
        chosen = np.concatenate([train[part], asked])
        yield f"site-{index}", images[chosen], labels[chosen], len(part)


def skewed_parts(labels: Array, rng: np.random.Generator) -> list[Array]:
    """Cut each class by Dir(0.1), without the cap of SSL-FL's splits, until every site has enough images."""
    while True:
        parts: list[list[int]] = [[] for _ in range(SITES)]
        for number in range(10):
            members = rng.permutation(np.flatnonzero(labels == number))
            ends = (np.cumsum(rng.dirichlet([ALPHA] * SITES))[:-1] * len(members)).astype(int)
            for part, share in zip(parts, np.split(members, ends), strict=True):
                part.extend(share.tolist())
        if min(map(len, parts)) >= MINIMUM:
            return [np.array(part) for part in parts]


if __name__ == "__main__":
    main()
