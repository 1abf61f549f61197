"""What image encoders are worth after pre-training: probes with few labels, naming from prompts, and alignment."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiments.mgca_data import PairData
from benchmarks.experiments.mgca_pointing import aligned_pairs, pointing
from benchmarks.experiments.pretraining import ImageData, features, ridge_probe
from fedward_models.backbones.vit.vit import ViT
from fedward_models.losses.pair_contrast import retrieval
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.towers.places import read_places

DRAWS = 5
AMONG = 64
SHARES = (1, 10, 100)  # per cent of the labels


@dataclass(frozen=True, kw_only=True)
class Question:
    """Films with known classes, and films to ask about. Its name goes before its figures, if it has one."""

    known: ImageData
    asked: ImageData
    name: str = ""

    @property
    def classes(self) -> int:
        """How many are known; they are the first of the prompts."""
        return int(self.known.labels.max()) + 1

    @property
    def chance(self) -> float:
        """What always naming the most frequent class reaches."""
        return float(self.asked.labels.bincount().max() / len(self.asked.labels))

    def figure(self, what: str) -> str:
        """The name of a figure."""
        return f"{self.name}_{what}" if self.name else what


def answers(method: MAE | MGCA, question: Question, seed: int) -> dict[str, float]:
    """Accuracies of probes with each share of the labels and, of an encoder that learned from reports, from prompts."""
    known, asked, truth = question.known, question.asked, question.asked.labels
    learned, met = (features(lambda images: _encoded(method, images), part.images) for part in (known, asked))
    figures = {f"probe_{share}": _probe(learned, known.labels, met, truth, share, seed) for share in SHARES}
    if isinstance(method, MGCA):
        named = features(method.predict, asked.images)[:, : question.classes].argmax(dim=1)
        figures["zero_shot"] = round(float((named == truth).float().mean()), 4)
    return {question.figure(what): value for what, value in figures.items()}


@torch.no_grad()
def alignment(method: MGCA, known: PairData, asked: PairData, *, sides: bool) -> dict[str, float]:
    """Retrieval of both, and pointing, where sentences are simple enough to be read for sides."""
    figures = {"retrieval_known": _retrieval(method, known), "retrieval_asked": _retrieval(method, asked)}
    if sides:
        figures["pointing"] = round(pointing(method, asked.images, asked.reports), 4)
    return figures


def _retrieval(method: MGCA, asked: PairData) -> float:
    """How often image and report find each other among so many."""
    batches = aligned_pairs(method, asked.images, asked.reports, batch_size=AMONG)
    return round(float(torch.cat([retrieval(pairs.images, pairs.reports) for pairs, _ in batches]).mean()), 4)


def _encoded(method: MAE | MGCA, images: Tensor) -> Tensor:
    backbone = method.backbone
    assert isinstance(backbone, ViT)
    if isinstance(method, MAE):
        return backbone.encode(backbone.embed(images))[:, 1:].mean(dim=1)
    return read_places(backbone, images).image


def _probe(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor, share: int, seed: int) -> float:  # noqa: PLR0913, PLR0917 - features and labels of both sides
    """The mean accuracy over draws of so many per cent of the labels, with two of every class at least."""
    draws = 1 if share == 100 else DRAWS
    rng = torch.Generator().manual_seed(seed)
    chosen = [_drawn(labels, share, rng) for _ in range(draws)]
    return round(float(np.mean([ridge_probe(known[rows], labels[rows], asked, truth) for rows in chosen])), 4)


def _drawn(labels: Tensor, share: int, rng: torch.Generator) -> Tensor:
    rows = []
    for number in range(int(labels.max()) + 1):
        own = (labels == number).nonzero()[:, 0]
        rows.append(own[torch.randperm(len(own), generator=rng)[: max(2, len(own) * share // 100)]])
    return torch.cat(rows)
