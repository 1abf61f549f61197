"""Pictures of what a masked autoencoder paints: for each site its images, what was hidden, and what came back.

They show images, and so stay where the data are.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.run_folder import final_weights
from fedward_models.building import build_method
from fedward_models.data import open_split
from fedward_models.methods.mae.mae import MAE
from fedward_models.weights import load_arrays
from fedward_server.rounds.stage_state import read_final

_COLUMNS = 5
_ROWS = ("original", "masked", "painted")


def draw_reconstructions(job: Job, stage: int, path: Path) -> None:
    """Draw reconstructions of test images of each site.

    Args:
        job: A job that was run.
        stage: The index of a stage of ``mae``.
        path: The PNG file.

    Raises:
        CheckpointError: The stage is not finished.
    """
    plan, weights = read_final(final_weights(job.out, job.spec.stages[stage].name))
    method = build_method(job.spec, stage, plan.contract)
    assert isinstance(method, MAE)
    load_arrays(method, weights)
    method.eval()
    figure = Figure(figsize=(1.4 * _COLUMNS, 1.4 * len(_ROWS) * len(job.sites)), layout="constrained")
    panels = figure.subfigures(len(job.sites), 1, squeeze=False)[:, 0]
    for panel, site in zip(panels, job.sites, strict=True):
        panel.suptitle(site, fontsize=9)
        pictures = _pictures(method, job, site)
        for row, (name, images) in enumerate(zip(_ROWS, pictures, strict=True)):
            for column, image in enumerate(images):
                axes = panel.add_subplot(len(_ROWS), _COLUMNS, row * _COLUMNS + column + 1, xticks=[], yticks=[])
                axes.imshow(image.squeeze(-1), cmap="gray", vmin=0, vmax=1)
                if column == 0:
                    axes.set_ylabel(name, fontsize=7)
    figure.savefig(path, dpi=120)


def _pictures(method: MAE, job: Job, site: str) -> tuple[Array, ...]:
    """Original, masked and painted images, each (N, H, W, C) in [0, 1]."""
    images = open_split(job.data, site, job.spec.dataset, Split.TEST)
    some = images.images[:_COLUMNS].float() / 255
    with torch.no_grad():
        found = method.reconstruct((some - images.mean) / images.std, torch.Generator().manual_seed(job.spec.seed))
    standardised = (found.original, found.masked, found.painted)
    return tuple(np.moveaxis((each * images.std + images.mean).clamp(0, 1).numpy(), 1, -1) for each in standardised)
