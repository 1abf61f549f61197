"""How a random view of an image is drawn, without torch."""

from typing import Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen

Range = tuple[float, float]


class ViewSettings(Frozen):
    """The usual augmentation of self-supervised learning.

    The defaults are those of MoCo v2 (Chen et al., arXiv:2003.04297). For radiographs, whose brightness means something
    and which have no colour, weaker changes are worth trying.

    Attributes:
        crop_scale: The part of the image's area that a crop keeps.
        crop_ratio: Its width over its height.
        rotation_deg: How far the image is turned at most, either way.
        flip: The probability of mirroring left to right.
        jitter: The probability of a change of brightness, contrast, saturation and hue.
        brightness: How far brightness is changed, as a factor of up to 1 plus or minus this.
        contrast: The same for contrast.
        saturation: The same for saturation; grey images have none.
        hue: How far hue is turned, in turns of the colour circle; grey images have none.
        grey: The probability that colours are dropped; grey images have none.
        blur: The probability of a Gaussian blur.
        blur_px: Its deviation, in pixels.
        solarise: The probability that what is brighter than half is inverted.
    """

    crop_scale: Range = (0.2, 1.0)
    crop_ratio: Range = (3 / 4, 4 / 3)
    rotation_deg: float = Field(default=0.0, ge=0, le=180)
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(default=0.8, ge=0, le=1)
    brightness: float = Field(default=0.4, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.4, ge=0, le=1)
    hue: float = Field(default=0.1, ge=0, le=0.5)
    grey: float = Field(default=0.2, ge=0, le=1)
    blur: float = Field(default=0.5, ge=0, le=1)
    blur_px: Range = (0.1, 2.0)
    solarise: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for name, most in (("crop_scale", 1.0), ("crop_ratio", float("inf")), ("blur_px", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise ValueError(f"{name} is {low} to {high}, expected positive numbers that rise, up to {most:g}")
        return self
