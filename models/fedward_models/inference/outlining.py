"""A finished model that gives a class to every pixel or voxel, over the images of one site, which stay there.

Letters: N images, K classes, C channel, H height, W width, px both on the grid; D slices stand before them in volumes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fedward_core.arrays import Array, Arrays
from fedward_core.cards import Contract, Split
from fedward_core.metric import Metrics
from fedward_core.spec import Dataset
from fedward_models.data.reading.dicom_file import is_dicom, turned_as_shown
from fedward_models.data.reading.listed_files import usable_paths
from fedward_models.data.reading.pixels import mask_in_size
from fedward_models.data.reading.scans import scan_of, spacing_on_grid
from fedward_models.data.reading.voxels import mask_in_scan
from fedward_models.data.site_data import read_site
from fedward_models.data.source import TABLE, locate
from fedward_models.explanations.overlay import UNKNOWN_SPACING_MM, write_in_scan, write_nifti
from fedward_models.inference.finished_model import FinishedModel
from fedward_models.inference.fitting import open_fitting
from fedward_models.inference.predicting import said_of_batches
from fedward_models.training.bootstrap import measure, resample
from fedward_models.training.figures import figures_of
from fedward_models.training.rows import rows_of

NUM_SHOWN = 4  # images of a site that people are shown


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """What a model outlines in the images of one split at one site.

    Attributes:
        site: The site.
        contract: The classes; the first one is the background.
        images: (N,), the place of each image among the site's usable ones, counted from 0.
        names: (N,), its file or id as the site has it, or nothing.
        patients: (N,), whose each image is.
        masks: (N, px, px) or (N, D, px, px), uint8 class numbers on the study's grid.
        pixels: (up to 4, C, ...), uint8, the first images there.
        truth: (up to 4, ...), the class numbers of their labels; None where there are none.
        noted: What the figures are made of, a row for each image; empty without labels.
    """

    site: str
    contract: Contract
    images: Array
    names: tuple[str, ...]
    patients: tuple[str, ...]
    masks: Array
    pixels: Array
    truth: Array | None
    noted: Arrays

    @property
    def shares(self) -> Array:
        """(N, K), the part of each image's places on the study's grid that each class has."""
        numbers, within = range(len(self.contract.classes)), tuple(range(1, self.masks.ndim))
        return np.stack([(self.masks == number).mean(axis=within) for number in numbers], axis=1)

    def figures(self, *, bootstrap: int, seed: int) -> Metrics:
        """The figures that a run would evaluate; none without labels.

        Args:
            bootstrap: Resamples of patients for the intervals; 0 for none.
            seed: Seeds the resamples.
        """
        if not self.noted:
            return {}
        weights = resample(self.patients, resamples=bootstrap, seed=seed)
        return {name: measure(figure, weights) for name, figure in figures_of(self.noted, self.contract).items()}


def outline_site(
    model: FinishedModel, data: Path, site: str, split: Split, *, give_way: Callable[[], None] = lambda: None
) -> Outlines:
    """Outline every image of a split; as ``predicting.predict_site`` for whole images, with its errors."""
    images = open_fitting(model, data, site, split)
    masks, noted = list[Array](), list[Arrays]()
    for said, batch in said_of_batches(model, images, give_way):
        masks.append(said.argmax(dim=1).numpy().astype(np.uint8))
        if batch.labels is not None:
            noted.append(rows_of(said, batch.labels, model.plan.contract.task))
    rows, first = images.rows.numpy(), images.subset(torch.arange(min(NUM_SHOWN, len(images))))
    return Outlines(
        site=site,
        contract=model.plan.contract,
        images=rows,
        names=tuple(read_site(data, site, model.spec.dataset).names[rows].tolist()),
        patients=images.patients,
        masks=np.concatenate(masks),
        pixels=first.images.numpy(),
        truth=None if first.labels is None else first.labels.numpy(),
        noted={name: np.concatenate([each[name] for each in noted]) for name in (noted[0] if noted else ())},
    )


class SourceImages:
    """The images as their site has them: masks that lie on these can be labels of the site again.

    Args:
        data: The folder of the data.
        site: The site.
        dataset: How the study reads it.
    """

    def __init__(self, data: Path, site: str, dataset: Dataset) -> None:
        self._data, self._site, self._dataset = data, site, dataset
        self._content = read_site(data, site, dataset)
        source = locate(data, site)
        bad = {file.name for file in self._content.bad}
        self._paths = usable_paths(source, bad) if source.path.name == TABLE else []

    def mask_on(self, index: int, mask: Array) -> Array:
        """(H, W) class numbers as large as the image, which lie as its file stores it.

        Args:
            index: The image's place among the site's usable ones.
            mask: (px, px), on the study's grid.
        """
        height, width = self._content.sizes[index].tolist()
        large = mask_in_size(mask, (height, width), keep_proportions=self._dataset.keep_proportions)
        path = self._paths[index] if self._paths else None
        # A film is mirrored to be looked at; mirrored twice, it lies as it did.
        return turned_as_shown(large[None], path)[0] if path is not None and is_dicom(path) else large

    def write_on_scan(self, path: Path, index: int, mask: Array) -> None:
        """Write a NIfTI file in the voxels of the scan; for a volume without one, on the study's grid.

        Args:
            path: ``.nii`` or ``.nii.gz``.
            index: The volume's place among the site's usable ones.
            mask: (D, px, px), on the study's grid.
        """
        scan = scan_of(self._data, self._site, self._dataset, index)
        if scan is not None:
            write_in_scan(path, mask_in_scan(mask, scan, self._dataset), scan.affine)
            return
        depth, height, width = spacing_on_grid(self._content, index, self._dataset) or UNKNOWN_SPACING_MM
        write_nifti(path, mask, spacing_mm=(depth, height, width))
