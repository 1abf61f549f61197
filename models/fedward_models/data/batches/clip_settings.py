"""How clips are taken from longer ones, without torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen


class ClipSettings(Frozen):
    """A random clip of each longer one in training; several clips in testing, whose probabilities are averaged.

    Attributes:
        frames: Frames of a clip; at most those that ``dataset.frames`` keeps of every video.
        stride: Frames from one to the next, for ``windows``.
        sampling: ``windows`` takes neighbouring frames from a random place; ``segments`` cuts the whole into as many
            parts as frames and takes one frame of each, as published for motions that fill the video.
        test_clips: Clips in testing, evenly spaced; 10 as published for Kinetics. Segments have one.
        crop_px: Height and width that are cut out, at random in training; null to take frames whole.
        test_crops: Crops of each clip in testing: the middle, or left, middle and right, as published.
    """

    frames: int = Field(ge=1)
    stride: int = Field(default=1, ge=1)
    sampling: Literal["windows", "segments"] = "windows"
    test_clips: int = Field(default=1, ge=1)
    crop_px: int | None = Field(default=None, ge=1)
    test_crops: Literal[1, 3] = 1

    @model_validator(mode="after")
    def _check_effects(self) -> Self:
        if self.sampling == "segments" and (self.stride > 1 or self.test_clips > 1):
            raise ValueError("segments fill the whole video once: leave stride and test_clips out")
        if self.test_crops > 1 and self.crop_px is None:
            raise ValueError("test_crops has no effect without crop_px: set both, or neither")
        return self

    @property
    def span(self) -> int:
        """Frames that a longer clip must have."""
        return self.frames if self.sampling == "segments" else (self.frames - 1) * self.stride + 1
