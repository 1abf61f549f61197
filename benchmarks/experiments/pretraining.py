"""What experiments on pre-training have in common: images, how towers are trained, and probes of their features.

A data folder holds ``train.npz`` and ``test.npz`` with JPEG streams end to end (``jpeg``, ``offsets``, ``labels``).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.experiments.steps import Steps, train
from fedward_models.batch import Batch
from fedward_models.method import Method

MEAN, STD = 0.47, 0.25  # of CIFAR-10's pixels, all channels together
UNLABELLED, KNOWN, ASKED = 10_000, 2000, 2000


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Images with their classes: (N, 3, 32, 32), standardised, and (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> "ImageData":
        """Some of them."""
        return ImageData(images=self.images[start:stop], labels=self.labels[start:stop])

    def batch(self, chosen: Tensor | slice) -> Batch:
        """A batch as a loader gives it to a method that reads no labels."""
        return Batch(images=self.images[chosen], mean=MEAN, std=STD)


def read(path: Path, count: int) -> ImageData:
    """The first images of a file, which is shuffled."""
    pixels, labels = read_pixels(path, count)
    return ImageData(images=(pixels.float() / 255 - MEAN) / STD, labels=labels)


def read_pixels(path: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first images of a file as they are, (N, 3, 32, 32) of 0 to 255, and their classes, (N,)."""
    with np.load(path, allow_pickle=False) as file:
        streams, offsets, labels = file["jpeg"].tobytes(), file["offsets"], file["labels"]
    pictures = [
        np.asarray(Image.open(io.BytesIO(streams[offsets[i] : offsets[i + 1]])).convert("RGB")) for i in range(count)
    ]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return pixels, torch.from_numpy(labels[:count].astype(np.int64))


def read_parts(folder: Path) -> dict[str, ImageData]:
    """Images to pre-train on (``train``), and others with labels to learn from (``known``) and to ask about."""
    everything = read(folder / "train.npz", UNLABELLED + KNOWN)
    return {
        "train": everything.part(0, UNLABELLED),
        "known": everything.part(UNLABELLED, UNLABELLED + KNOWN),
        "asked": read(folder / "test.npz", ASKED),
    }


def pretrain(method: Method, steps: Steps, *, lr: float, seed: int, weight_decay: float = 0.05) -> dict[str, float]:
    """Train with AdamW, a tenth of warm-up and a half cosine; the mean figures over all steps."""
    local = {
        "optimizer": {"name": "adamw", "lr": lr, "betas": [0.9, 0.95], "weight_decay": weight_decay},
        "schedule": {"shape": "cosine", "warmup_rounds": 0.1},
    }
    return train(method, steps, seed=seed, local=local)


@torch.no_grad()
def features(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(N, E), in parts."""
    return torch.cat([encode(part) for part in torch.split(images, 250)])


def ridge_scores(known: Tensor, labels: Tensor, asked: Tensor, *, penalty: float = 1.0) -> Tensor:
    """(N, classes), by a linear map found in closed form, on features of mean 0 and deviation 1."""
    mean, deviation = known.mean(dim=0), known.std(dim=0) + 1e-6
    known, asked = ((part - mean) / deviation for part in (known, asked))
    targets = torch.nn.functional.one_hot(labels).float()
    gram = known.T @ known + penalty * torch.eye(known.shape[1])
    weights: Tensor = torch.linalg.solve(gram, known.T @ (targets - targets.mean(dim=0)))
    return asked @ weights + targets.mean(dim=0)


def ridge_probe(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """The accuracy of ``ridge_scores``."""
    return _accuracy(ridge_scores(known, labels, asked), truth)


def nearest_probe(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor, *, k: int = 20) -> float:
    """The accuracy of the k nearest by cosine, each with weight exp(similarity / 0.1)."""
    known, asked = (torch.nn.functional.normalize(part, dim=1) for part in (known, asked))
    similarity, index = (asked @ known.T).topk(k, dim=1)
    votes = torch.nn.functional.one_hot(labels)[index] * (similarity / 0.1).exp().unsqueeze(2)
    return _accuracy(votes.sum(dim=1), truth)


def _accuracy(scores: Tensor, truth: Tensor) -> float:
    return float((scores.argmax(dim=1) == truth).float().mean())
