"""Which data a run reads, and how it reaches the model."""

from typing import Any, Self

from pydantic import Field, PositiveFloat, model_validator

from fedward_core.cards import DataKind, Task
from fedward_core.config import Frozen

# A folder's name is at most so long. It is quoted in answers and logs, so that no line of them may end within it.
DATASET_NAME = r"^[^\x00-\x1f\x7f]{1,255}$"


class Standardisation(Frozen):
    """How pixels in [0, 1] become what the model reads: (pixels - mean) / std.

    Attributes:
        mean: Usually the mean of training images.
        std: Usually the standard deviation of their pixels.
    """

    mean: float
    std: float = Field(gt=0)


class Dataset(Frozen):
    """Which data, and how it reaches the model.

    Attributes:
        name: The dataset's name in the sites' catalogues.
        kind: What one example is: an image, a volume, a clip, or an image with its report.
        image_px: Images, slices and frames are resized to this height and width.
        depth: Slices of a volume after resampling.
        spacing_mm: Volumes are resampled to voxels of this depth, height and width, then cut or filled up with black
            around their middle. Without it, each whole volume is resized to the grid.
        window: The values shown as black and as white, in the units of DICOM and NIfTI files (Hounsfield units for CT).
            Without it, DICOM images are shown as they say themselves, and volumes from their 0.5th to their 99.5th
            percentile.
        frames: Frames of a clip, taken from the middle of its video.
        frame_stride: The clip takes every n-th frame of the video; n is this number.
        classes: The study's classes in the order of their label numbers; empty to take those of the sites' cards.
        task: What the labels mean.
        label_fraction: The part of each site's training labels that is used: stratified, by patient, at least one
            patient of each class that is present. Methods without labels still see every image.
        standardisation: The same scale at every site, e.g. a published one. Without it, each site takes the mean and
            deviation of its own training images, which takes differences between scanners out.
        keep_proportions: Whether images are filled up with black to squares before they are resized (e.g. MGCA);
            otherwise height and width are stretched to be equal.
    """

    name: str = Field(pattern=DATASET_NAME)
    kind: DataKind = DataKind.IMAGE
    image_px: int = Field(default=64, ge=8)
    depth: int | None = Field(default=None, ge=1)
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    window: tuple[float, float] | None = None
    frames: int | None = Field(default=None, ge=1)
    frame_stride: int = Field(default=1, ge=1)
    classes: tuple[str, ...] = ()
    task: Task = Task.CLASSIFICATION
    label_fraction: float = Field(default=1.0, gt=0, le=1)
    # Left out of the text where they are not set, so that specs from before them keep their digests.
    standardisation: Standardisation | None = Field(default=None, exclude_if=lambda value: value is None)
    keep_proportions: bool = Field(default=False, exclude_if=lambda value: not value)

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes names one twice, found {', '.join(self.classes)}: name each once")
        return self

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        _check_grid(self.kind, DataKind.VOLUME, "depth", self.depth, {"spacing_mm": self.spacing_mm})
        _check_grid(self.kind, DataKind.CLIP, "frames", self.frames, {"frame_stride": self.frame_stride > 1})
        if self.keep_proportions and self.kind in {DataKind.VOLUME, DataKind.CLIP}:
            raise ValueError(f"keep_proportions is for images and has no effect with kind '{self.kind}': leave it out")
        if self.window and self.window[0] >= self.window[1]:
            raise ValueError(f"window is {self.window}, expected the value of black below that of white")
        if self.task is Task.SEGMENTATION and self.kind is DataKind.CLIP:
            raise ValueError("task 'segmentation' is for images and volumes, found kind 'clip': use another task")
        return self


def _check_grid(kind: DataKind, owner: DataKind, needed: str, value: int | None, optional: dict[str, Any]) -> None:
    """A kind needs one setting of its own; other kinds have none of its settings."""
    if kind is owner and value is None:
        raise ValueError(f"kind '{kind}' needs '{needed}': say how many, e.g. {needed}: 16")
    for setting in (key for key, given in {needed: value, **optional}.items() if given):
        if kind is not owner:
            raise ValueError(f"{setting} has no effect with kind '{kind}': leave it out, or set kind: {owner}")
