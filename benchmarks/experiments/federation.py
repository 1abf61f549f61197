"""Small federations that are run to their end within a trial: sites of digits, and what they tell of the last round."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fedward_core import registry
from fedward_core.arrays import Array
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec
from fedward_models.data.reading.npz_file import write_npz

Site = tuple[str, Array, Array, int]  # name, images and labels, of which the first so many are for training


def digits(seed: int) -> tuple[Array, Array, Array, Array]:
    """Images (1797, 8, 8) in [0, 255], their labels, and the indices of a stratified 70 and 30 percent."""
    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=seed)
    return np.rint(bunch.images * 255 / 16).astype(np.uint8), labels, train, test


def last_accuracies(spec: Spec, sites: Iterable[Site]) -> tuple[list[float], list[int]]:
    """Run a spec, and give the accuracy of each site after the last round, and on how many images."""
    events = list[Event]()
    with TemporaryDirectory() as name:
        folder = Path(name)
        names = tuple(_write(folder, *site) for site in sites)
        job = Job(spec=spec, run=spec.name, sites=names, data=folder, out=folder / "out")
        registry.resolve("engines", "inline")().run(job, events.append)
    last = [event for event in events if event.kind is EventKind.EVALUATED][-len(names) :]
    figures = [event.facts["metrics"]["accuracy"] for event in last]
    return [figure["value"] for figure in figures], [figure["n"] for figure in figures]


def _write(folder: Path, name: str, images: Array, labels: Array, num_train: int) -> str:
    split = np.array(["train"] * num_train + ["test"] * (len(images) - num_train))
    classes = np.array(list("0123456789"))
    write_npz(folder / f"{name}.npz", {"images": images, "labels": labels, "split": split, "classes": classes})
    return name
