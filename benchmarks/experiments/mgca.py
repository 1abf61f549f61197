"""Do reports make an image encoder better than images alone do, and is it what reports say that does it?

    nice python -m benchmarks.experiments.mgca --seeds 0 1 2 3 4 --out FOLDER
    nice python -m benchmarks.experiments.mgca --data PAIRS --films SITES --seeds 0 1 2 3 4 --out FOLDER

Without --data, 2,000 films are generated from findings, with what a radiologist would write about them, and 500 more to
ask about. With --data, pairs are true: ``images.npz`` (images, labels, split) and ``reports.csv`` (index, text); word
pieces are then those of its training texts, kept as <out>/pieces.txt, since built-in ones cut free English too finely.
A folder of films holds ``nih.npz`` and ``guangzhou.npz`` (images, labels, split): other patients', normal or with
pneumonia, for more probes. What docs/zoo tells of true pairs is of --steps 200 --batch 32. Every finished arm is a line
of <out>/mgca.jsonl and is not run again.

    untrained      the towers as they are initialised
    images         the same image encoder by masked autoencoding, without reports; its patch tokens' mean is probed, and
                   of all other arms the class token
    images_0       the same without training
    pairs          only which report belongs to which image
    pairs_tokens   and which word to which place
    pairs_protos   pairs and prototypes
    mgca           all three
    masked         all three, with the words that name the diagnosis taken out of the reports; what hints at it, such as
                   a test or a place, stays
    shuffled       all three, with reports dealt to other images: what is left without any meaning

Beside probes and zero-shot: how often image and report find each other among 64, of pairs that were trained on (known),
which tells whether anything was learned at all, and of others (asked); and on generated films how often the word of a
finding points to the half of the film that the report says.
"""

import argparse
import os
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.cost import draw_ms, drawn, network_ms, step_ms
from benchmarks.experiments.mgca_data import IMAGE_PX, PairData, generated_pairs, site_films, true_pairs
from benchmarks.experiments.mgca_scores import AMONG, SHARES, Question, alignment, answers
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.pretraining import pretrain
from benchmarks.experiments.steps import Steps
from benchmarks.experiments.tables import show, show_networks
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed, tower_digest
from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.building import seeded
from fedward_models.frozen import FOLDERS, file_digest
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.towers.reports import clean_report
from fedward_models.towers.vocabulary import train_vocabulary

LR = 1e-3
VIT = ViTConfig(width=64, depth=3, heads=4, patch_px=8)
TEXT: dict[str, Any] = {"width": 64, "depth": 2, "heads": 4}
FORM: dict[str, Any] = {"hidden": 256, "width": 32, "prototypes": 32}
ARMS: dict[str, dict[str, float]] = {
    "untrained": {},
    "images": {},
    "images_0": {},
    "pairs": {"token_weight": 0, "prototype_weight": 0},
    "pairs_tokens": {"prototype_weight": 0},
    "pairs_protos": {"token_weight": 0},
    "mgca": {},
    "masked": {},
    "shuffled": {},
}
UNTRAINED, IMAGES_ALONE = ("untrained", "images_0"), ("images", "images_0")
CONTROLS = ("untrained", "images", "pairs", "masked", "shuffled")
SITES = ("nih", "guangzhou")  # with both normal films and pneumonia, none of which is among the pairs
PROMPTS = {
    "generated": ("normal chest", "patchy opacity consistent with pneumonia", "pleural effusion"),
    "true": ("normal chest", "pneumonia", "covid 19 pneumonia"),
}
DIAGNOSES = re.compile(
    r"\b(normal|clear|pneumonia\w*|opacit\w+|consolidation\w*|effusion\w*|fluid|blunting|covid\S*|coronavirus|sars\S*"
    r"|(\S*-)?n?cov(-19|-2)?|pneumocystis|jirovec\w*|pcp|streptococc\w*|klebsiella|legionell\w*|mycoplasma|influenza\w*"
    r"|lipoid|ards)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried on: pairs to learn from and to ask about, and the form of the text tower that reads them."""

    kind: str
    data: dict[str, PairData]
    text: dict[str, Any]
    elsewhere: tuple[Question, ...] = ()

    @property
    def questions(self) -> tuple[Question, ...]:
        """The pairs themselves, and films without reports."""
        return (Question(known=self.data["train"], asked=self.data["asked"]), *self.elsewhere)

    @property
    def prompts(self) -> tuple[str, ...]:
        """A text for each class."""
        return PROMPTS[self.kind]


def main() -> None:
    """Run every arm that is not finished, and print the table and the cost of a step."""
    arguments = _arguments()
    trial = _trial(arguments)
    same = {"data": trial.kind, "steps": arguments.steps, "batch": arguments.batch}
    rows = carry_out("mgca", arguments, partial(_run, arguments, trial), same=same)
    for question in trial.questions:
        _show_answers(rows, question)
    counts = {part: len(pairs) for part, pairs in trial.data.items()}
    _show_alignment(rows, "retrieval_known", n=counts["train"], chance=1 / min(counts["train"], AMONG))
    _show_alignment(rows, "retrieval_asked", n=counts["asked"], chance=1 / min(counts["asked"], AMONG))
    _show_alignment(rows, "pointing", n=counts["asked"], chance=0.5)
    show_networks(rows)
    _show_cost(trial, arguments.batch)


def _show_alignment(rows: list[Row], figure: str, *, n: int, chance: float) -> None:
    """Tables of a figure that only arms with reports have, if any has been run."""
    if known := [row for row in rows if figure in row]:
        show(known, (figure,), n=n, chance=chance)
        show_pairs(known, figure, [("pairs_tokens", "pairs"), ("mgca", "pairs"), ("mgca", "shuffled")])


def _show_answers(rows: list[Row], question: Question) -> None:
    """Tables of what a question's probes and prompts got right, of the records that were asked it."""
    asked, guessed = len(question.asked), question.chance
    for what in (*(f"probe_{share}" for share in SHARES), "zero_shot"):
        figure = question.figure(what)
        if known := [row for row in rows if figure in row]:
            show(known, (figure,), n=asked, chance=guessed)
            show_pairs(known, figure, [*(("mgca", control) for control in CONTROLS), IMAGES_ALONE])


def _trial(arguments: argparse.Namespace) -> Trial:
    if not arguments.data:
        return Trial(kind="generated", data=generated_pairs(arguments.out / "generated"), text=TEXT)
    data = true_pairs(arguments.data)
    path = arguments.out / "pieces.txt"
    if not path.exists():  # ties between pieces are broken anew in every process, and all arms need the same
        texts = (" ".join(clean_report(report)) for report in data["train"].reports)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(train_vocabulary(texts, size=2000)))
    os.environ[FOLDERS] = str(arguments.out)
    text = {**TEXT, "vocabulary": {"name": "pieces", "sha256": file_digest(path)}}
    return Trial(kind="true", data=data, text=text, elsewhere=_elsewhere(arguments.films))


def _elsewhere(folder: Path | None) -> tuple[Question, ...]:
    if folder is None:
        return ()
    films = {site: site_films(folder, site) for site in SITES}
    return tuple(Question(name=site, known=parts["train"], asked=parts["asked"]) for site, parts in films.items())


def _run(arguments: argparse.Namespace, trial: Trial, arm: str, seed: int) -> Row:
    started = time.monotonic()
    method = _mae(seed) if arm in IMAGES_ALONE else _mgca(seed, trial, **ARMS[arm])
    data = _told(trial.data["train"], arm, seed)
    steps = Steps(data=data, num_steps=arguments.steps, batch_size=arguments.batch)
    figures = {} if arm in UNTRAINED else pretrain(method, steps, lr=LR, seed=seed)
    scores = _scores(method, trial, seed)
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return scores | {"seconds": round(time.monotonic() - started)} | rounded


def _told(pairs: PairData, arm: str, seed: int) -> PairData:
    """The pairs as an arm learns from them."""
    reports = pairs.reports
    if arm == "masked":
        reports = tuple(DIAGNOSES.sub("", report) for report in reports)
    if arm == "shuffled":
        order = np.random.default_rng(seed).permutation(len(reports))
        reports = tuple(reports[number] for number in order)
    return replace(pairs, reports=reports)


def _mgca(seed: int, trial: Trial, **weights: float) -> MGCA:
    with seeded(seed):
        backbone = VIT.build(image_px=IMAGE_PX, channels=1)
        config = MGCAConfig.model_validate({**FORM, **weights, "text": trial.text, "prompts": trial.prompts})
        return MGCA(config, backbone=backbone, contract=Contract(classes=trial.prompts))


def _mae(seed: int) -> MAE:
    with seeded(seed):
        backbone = VIT.build(image_px=IMAGE_PX, channels=1)
        config = MAEConfig(mask_ratio=0.75, norm_pixels=False, decoder_width=48, decoder_depth=2)
        return MAE(config, backbone=backbone, contract=Contract(classes=("none",)))


def _scores(method: MAE | MGCA, trial: Trial, seed: int) -> Row:
    method.eval()
    figures = {name: value for question in trial.questions for name, value in answers(method, question, seed).items()}
    if isinstance(method, MGCA):
        figures |= alignment(method, trial.data["train"], trial.data["asked"], sides=trial.kind == "generated")
    return figures | {"n": len(trial.data["asked"]), "tower": tower_digest(method.backbone)}


def _show_cost(trial: Trial, batch: int) -> None:
    """Milliseconds of a step beside forward and backward of the image encoder alone."""
    raw, method = trial.data["train"].batch(slice(batch)), _mgca(0, trial)
    ready = drawn(method, raw)
    cut = float(ready.drawn["cut"].float().mean())
    prepare, step, plain = draw_ms(method, raw), step_ms(method, ready), network_ms(method.backbone, raw.images)
    print(f"\n| a batch of {batch}, one thread | prepare ms | step ms | image encoder alone ms | reports cut |")
    print(f"|---|---|---|---|---|\n| mgca | {prepare:.1f} | {step:.1f} | {plain:.1f} | {cut:.0%} |")


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument("--data", type=Path, help="a folder with images.npz and reports.csv; generated pairs without")
    parser.add_argument("--films", type=Path, help="with --data: a folder with films of other patients, to probe on")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    return parsed(parser)


if __name__ == "__main__":
    main()
