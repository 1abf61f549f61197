"""What the sites of a simulation predicted for every image, read from their folders: there, all sites are one machine.

A hospital's predictions stay in its own store, and nothing here could reach them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array, Arrays, read_arrays

Predictions = Mapping[str, Arrays]
"""By site: ``probabilities`` (N, K), ``labels`` (N,), ``loss`` (N,), and ``patients`` (N,), a number for each one."""


def read_predictions(out: Path, stage: str, sites: Iterable[str]) -> dict[str, Arrays]:
    """The newest predictions of a run's stage, of those sites that kept any.

    Args:
        out: The folder of the run.
        stage: The stage's name.
        sites: The sites.

    Raises:
        CheckpointError: A file is damaged.
    """
    from fedward_models.programs.program import PREDICTIONS  # few commands need the zoo

    files = {site: out / "sites" / site / stage / PREDICTIONS for site in sites}
    return {site: read_arrays(path)[0] for site, path in files.items() if path.exists()}


def same_images(runs: Sequence[Predictions]) -> bool:
    """Whether all runs predicted the same images of the same patients, so that they can be compared one by one."""
    return all(_described(run) == _described(runs[0]) for run in runs) and bool(runs[0])


def joined(run: Predictions) -> dict[str, Array]:
    """The rows of all sites as one; the patients of different sites are different people."""
    sites = sorted(run)
    names = set.intersection(*(set(run[site]) for site in sites)) - {"patients"}
    return {name: np.concatenate([run[site][name] for site in sites]) for name in sorted(names)}


def _described(run: Predictions) -> dict[str, tuple[bytes, bytes]]:
    return {site: (rows["labels"].tobytes(), rows["patients"].tobytes()) for site, rows in run.items()}
