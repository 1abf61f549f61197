"""From files and arrays to 8-bit pixels of one size.

Resizing averages over the pixels it joins (Pillow's bilinear filter widens with the factor), so that fine patterns do
not turn into coarse ones. Height and width become equal, whatever they were: stretched, or with black beside the
shorter side.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fedward_core.arrays import Array
from fedward_models.data.reading.found import UnusableFileError

GREY_MODES = frozenset({"1", "L", "LA"})
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
MASK_MODES = frozenset({"1", "L", "P"})
COLOUR_MODES = frozenset({"RGB", "RGBA", "P", "PA"})

WITH_THUMBNAILS = "MPO"  # JPEG files of cameras: the image first, smaller copies behind it

# Mean distance of the channels from their mean, in levels of 255. JPEG compression alone leaves a grey film below 0.2,
# a tinted scan of a page has 20.
GREY_TOLERANCE = 2.0


def decode(path: Path) -> Image.Image:
    """Decode a PNG or JPEG file.

    Returns:
        A grey (``L``) or colour (``RGB``) image, turned as its EXIF says. Transparency is dropped. A grey image of 16
        bits is mapped linearly so that its own lowest value becomes 0 and its highest 255.

    Raises:
        UnusableFileError: The file is missing, damaged or too large, or has several frames or other channels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes below the limit, and of the transparency that is dropped
        return _to_8_bit(_load(path))


def decode_mask(path: Path, size: tuple[int, int]) -> Array:
    """Decode a PNG whose grey levels, or palette entries, are class numbers.

    Args:
        path: The file.
        size: The height and width that the mask must have.

    Returns:
        (H, W), uint8.

    Raises:
        UnusableFileError: The file is missing, damaged, of another size, or not one number for each pixel.
    """
    mask = _load(path)
    lossy = mask.format == "JPEG"  # which paints classes of its own between those that meet
    if lossy or mask.mode not in MASK_MODES or (mask.height, mask.width) != size:
        raise UnusableFileError("mask: expected an 8-bit grey or palette PNG as large as its image")
    return np.asarray(mask).astype(np.uint8)


def is_colour(pixels: Array) -> bool:
    """Whether (H, W, 3) pixels are more than a grey image in three channels."""
    levels = pixels.astype(np.float32)
    return float(np.abs(levels - levels.mean(axis=-1, keepdims=True)).mean()) > GREY_TOLERANCE


def resize_array(pixels: Array, px: int, *, keep_proportions: bool = False) -> Array:
    """(H, W) or (H, W, 3) uint8 as (px, px) or (px, px, 3) uint8.

    Args:
        pixels: An image.
        px: Height and width of the result.
        keep_proportions: Whether the longer side becomes ``px``, with black beside the shorter one; else both do.
    """
    height, width = _target(pixels.shape[:2], px, keep_proportions)
    if pixels.shape[:2] != (height, width):
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return _squared(pixels, px)


def resize_mask(mask: Array, px: int, *, keep_proportions: bool = False) -> Array:
    """(H, W) class numbers, each taken from the nearest pixel: the mean of two classes is none."""
    return _squared(_nearest(mask, _target(mask.shape, px, keep_proportions)), px)


def mask_in_size(mask: Array, size: tuple[int, int], *, keep_proportions: bool = False) -> Array:
    """Take class numbers back to the pixels of the image that they are of: the way of ``resize_mask``, reversed.

    Args:
        mask: (px, px).
        size: The height and width of the image.
        keep_proportions: As the image was brought to ``px``.
    """
    height, width = _target(size, len(mask), keep_proportions)
    top, left = (len(mask) - height) // 2, (len(mask) - width) // 2
    return _nearest(mask[top : top + height, left : left + width], size)


def _nearest(mask: Array, size: tuple[int, ...]) -> Array:
    """Class numbers in another size, each that of the nearest pixel."""
    places = [(np.arange(new) * 2 + 1) * old // (2 * new) for old, new in zip(mask.shape, size, strict=True)]
    return np.asarray(mask[np.ix_(*places)])


def _target(size: tuple[int, ...], px: int, keep_proportions: bool) -> tuple[int, int]:
    height, width = size
    if not keep_proportions:
        return px, px
    scale = px / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _squared(pixels: Array, px: int) -> Array:
    """In the middle of a black square."""
    rest = [px - side for side in pixels.shape[:2]]
    margins = [(side // 2, side - side // 2) for side in rest] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, margins) if any(rest) else pixels


def _load(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            _refuse_several_frames(image)
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except (UnusableFileError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UnusableFileError("too many pixels, as in a whole slide: make the image smaller") from error
    except Exception as error:  # damage shows in any way
        raise UnusableFileError("missing or damaged: expected a PNG or JPEG file that decodes") from error


def _refuse_several_frames(image: Image.Image) -> None:
    if getattr(image, "n_frames", 1) > 1 and image.format != WITH_THUMBNAILS:
        raise UnusableFileError("several frames: expected one image; use kind: clip for videos and GIFs")


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode in GREY_MODES:
        return image.convert("L")
    if image.mode in COLOUR_MODES:
        return image.convert("RGB")
    if image.mode in DEEP_MODES:
        return _scale_by_range(np.asarray(image).astype(np.float64))
    raise UnusableFileError(f"channels '{image.mode}': expected grey or RGB")


def _scale_by_range(levels: Array) -> Image.Image:
    low, high = float(levels.min()), float(levels.max())
    scaled = (levels - low) * (255.0 / (high - low)) if high > low else np.zeros_like(levels)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
