"""FGSM training at the published size: PreActResNet-18 on all of CIFAR-10, under PGD and AutoAttack.

    python -m benchmarks.experiments.fgsm_at_full --data CIFAR10 --out FOLDER
    python -m benchmarks.experiments.fgsm_at_full --data CIFAR10 --arms all plain --seeds 0 1 2 --out FOLDER

It takes a GPU, and the extra ``bench`` for AutoAttack. An arm is a recipe, and AutoAttack alone is added to it. --data
is a folder with train.npz and test.npz (JPEG streams): all 50,000 images are trained on, and the first 1,000 are asked
about, as many as in the baseline's code. Every finished arm is a line of <out>/fgsm_at_full.jsonl and is not run again;
trained weights are kept beside it.

    plain    FGSM from the image: expected to collapse
    all      with all four tricks; mask, stride, smooth, first_layer: with one each
    rs       the baseline with a random start, as in GradAlign's code
"""

import argparse
import time
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.experiments.pretraining import MEAN, STD, read_pixels
from benchmarks.experiments.steps import CPU, FASTEST
from benchmarks.experiments.tables import show, show_networks
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed, tower_digest
from fedward_core.cards import Contract
from fedward_core.robustness import AUTO_ATTACK_ACCURACY, FGSM_ACCURACY, PGD_ACCURACY, overfits_catastrophically
from fedward_core.seeds import derive_seed
from fedward_core.spec import Spec
from fedward_models.building import build_method
from fedward_models.data.batches.loader import Loader
from fedward_models.data.image_set import ImageSet
from fedward_models.method import Method
from fedward_models.recipes import read_recipe
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase

TRICKS = ("plain", "all", "mask", "stride", "smooth", "first_layer")
ARMS = {**{trick: f"fgsm_at_tricks/{trick}" for trick in TRICKS}, "rs": "fgsm_at_code/tml_fgsm_rs"}
CONTRACT = Contract(classes=tuple("0123456789"), channels=3)
TRAINED, ASKED = 50_000, 1000
FIGURES = {"clean": "", "fgsm": FGSM_ACCURACY, "pgd": PGD_ACCURACY, "auto_attack": AUTO_ATTACK_ACCURACY}
PUBLISHED = "published for the best combination: PGD 0.498, AutoAttack 0.464"


def main() -> None:
    """Run every arm that is not finished, and print the table."""
    parser = common_arguments(__doc__, seeds=1, arms=ARMS)
    parser.add_argument("--data", type=Path, required=True, help="a folder with CIFAR-10's train.npz and test.npz")
    arguments = parsed(parser)
    data = _images(arguments.data / "train.npz", TRAINED), _images(arguments.data / "test.npz", ASKED)
    rows = carry_out("fgsm_at_full", arguments, partial(run, arguments, data), same={"n": len(data[1])})
    show(rows, tuple(FIGURES), n=len(data[1]), chance=0.1, judged=tuple(FIGURES))
    print(PUBLISHED)
    show_networks(rows, "network")


def run(arguments: argparse.Namespace, data: tuple[ImageSet, ImageSet], arm: str, seed: int) -> Row:
    """Train, or read what was trained, and attack."""
    spec, (known, asked) = _spec(arm, seed), data
    method = build_method(spec, 0, CONTRACT)
    path = arguments.out / f"{arm}-{seed}.safetensors"
    if not path.exists():
        _train(method, spec, known, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(method.to(CPU).state_dict(), path)
    method.load_state_dict(load_file(path))
    started = time.monotonic()
    scores = _scores(method.eval().to(FASTEST), asked)
    return {**scores, "seconds_of_attacks": round(time.monotonic() - started), "network": tower_digest(method.to(CPU))}


def _spec(arm: str, seed: int) -> Spec:
    """The recipe with a seed, whose evaluation asks AutoAttack too."""
    spec = read_recipe(ARMS[arm])
    (stage,) = spec.stages
    method = stage.method.model_copy(update={"evaluation_auto_attack": True})
    return spec.model_copy(update={"seed": seed, "stages": (stage.model_copy(update={"method": method}),)})


def _train(method: Method, spec: Spec, images: ImageSet, seed: int) -> None:
    (stage,) = spec.stages
    loader = Loader(images, batch_size=stage.local.batch_size, augment=stage.local.augment, prepare_ahead=True)
    phase, state = Phase(local=stage.local), None
    for round_ in range(stage.rounds):
        own = derive_seed(seed, round_)
        report = fit(
            method, loader, (phase,), round_=round_, rounds=stage.rounds, seed=own, device=FASTEST, state=state
        )
        state = report.state
        print(f"{spec.name}, seed {seed}: {round_ + 1} of {stage.rounds}, {report.figures}", flush=True)


def _scores(method: Method, images: ImageSet) -> Row:
    batch = next(Loader(images, batch_size=1, augment=False).in_order(len(images))).to(FASTEST)
    with torch.no_grad():
        clean = method.predict(batch.images).argmax(dim=1) == batch.needed_labels()
    robust = {name: float(values.mean()) for name, values in method.measures(batch).items()}
    found = {"": float(clean.float().mean()), **robust}
    alarm = overfits_catastrophically(fgsm_accuracy=found[FGSM_ACCURACY], pgd_accuracy=found[PGD_ACCURACY])
    return {**{figure: round(found[name], 4) for figure, name in FIGURES.items()}, "overfitted": alarm}


def _images(path: Path, count: int) -> ImageSet:
    pixels, labels = read_pixels(path, count)
    patients = tuple(map(str, range(count)))
    rows = torch.arange(count)
    return ImageSet(stored=pixels, rows=rows, labels=labels, patients=patients, mean=MEAN, std=STD, contract=CONTRACT)


if __name__ == "__main__":
    main()
