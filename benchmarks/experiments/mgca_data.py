"""Films with what was written about them, to learn from (``train``) and to ask about (``asked``)."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiments.pretraining import ImageData
from fedward_core.cards import DataKind
from fedward_models.batch import Batch
from fedward_models.data import generate

IMAGE_PX = 64


@dataclass(frozen=True, kw_only=True)
class PairData(ImageData):
    """Images with classes and reports: (N, 1, 64, 64), standardised, (N,), and N texts."""

    reports: tuple[str, ...]

    def batch(self, chosen: Tensor | slice) -> Batch:
        """Images with their reports."""
        numbers = torch.arange(len(self))[chosen].tolist()
        return replace(super().batch(chosen), reports=tuple(self.reports[number] for number in numbers))


def generated_pairs(folder: Path) -> dict[str, PairData]:
    """2,000 films to train on and 500 to ask about, other patients', kept in a folder."""
    if not any(folder.glob("*.npz")):
        generate(folder, sites=1, images_per_site=2500, image_px=IMAGE_PX, seed=1, kind=DataKind.REPORT)
    (path,) = folder.glob("*.npz")
    with np.load(path, allow_pickle=False) as file:
        patients = file["patient"]
        # By patient: films of one patient are neighbours.
        border = int(np.flatnonzero(patients == patients[2000])[0])
        return _divided(file["images"], file["labels"], file["reports"], np.arange(len(patients)) < border)


def true_pairs(folder: Path) -> dict[str, PairData]:
    """What a folder's split calls train and test, at 64 pixels from 128."""
    with np.load(folder / "images.npz", allow_pickle=False) as file:
        images, labels, split = file["images"], file["labels"], file["split"]
    with (folder / "reports.csv").open(encoding="utf-8", newline="") as file_:
        texts = {int(row["index"]): row["text"] for row in csv.DictReader(file_)}
    used = split != "val"
    reports = np.array([texts[number] for number in range(len(images))])
    return _divided(_halved(images[used]), labels[used], reports[used], split[used] == "train")


def site_films(folder: Path, site: str) -> dict[str, ImageData]:
    """Films without reports of a site's training and test split, at 64 pixels from 128, standardised by the site."""
    with np.load(folder / f"{site}.npz", allow_pickle=False) as file:
        images, labels, split = file["images"], file["labels"], file["split"]
    pixels = _standardised(_halved(images), split == "train")
    return {
        part: ImageData(images=pixels[split == name], labels=torch.from_numpy(labels[split == name].astype(np.int64)))
        for part, name in (("train", "train"), ("asked", "test"))
    }


def _halved(images: Any) -> Any:
    return images.reshape(len(images), IMAGE_PX, 2, IMAGE_PX, 2).mean(axis=(2, 4))


def _standardised(images: Any, known: Any) -> Tensor:
    """(N, 1, H, W), by mean and deviation of the pixels that are known."""
    pixels = torch.from_numpy(images.astype(np.float32))[:, None] / 255
    return (pixels - pixels[known].mean()) / pixels[known].std()


def _divided(images: Any, labels: Any, reports: Any, known: Any) -> dict[str, PairData]:
    pixels = _standardised(images, known)
    return {
        part: PairData(
            images=pixels[rows],
            labels=torch.from_numpy(labels[rows].astype(np.int64)),
            reports=tuple(map(str, reports[rows])),
        )
        for part, rows in (("train", known), ("asked", ~known))
    }
