"""From files to 8-bit pixels."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import decode_file
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.pixels import (
    decode,
    decode_mask,
    is_colour,
    mask_in_size,
    resize_array,
    resize_mask,
)


@pytest.mark.parametrize(
    ("mode", "expected"), [("1", "L"), ("L", "L"), ("LA", "L"), ("RGB", "RGB"), ("RGBA", "RGB"), ("P", "RGB")]
)
def test_every_common_mode_becomes_grey_or_rgb(tmp_path: Path, mode: str, expected: str) -> None:
    Image.new("L", (6, 4), 128).convert(mode).save(tmp_path / "a.png")
    image = decode(tmp_path / "a.png")
    assert (image.mode, image.size) == (expected, (6, 4))


def test_sixteen_bits_are_scaled_by_the_images_own_range(tmp_path: Path) -> None:
    levels = np.array([[1000, 2000], [3000, 5000]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert np.asarray(decode(tmp_path / "a.png")).tolist() == [[0, 64], [128, 255]]


def test_sixteen_bits_of_one_value_are_black(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 4000, dtype=np.uint16)).save(tmp_path / "a.png")
    assert not np.asarray(decode(tmp_path / "a.png")).any()


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    """Cameras store what they see lying on its side, and say so."""
    pixels = np.zeros((10, 20), dtype=np.uint8)
    pixels[:, :10] = 255
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # a quarter to the right
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=turned)
    assert (np.asarray(decode(tmp_path / "a.png")) == np.rot90(pixels, -1)).all()


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
def test_a_file_of_several_pictures_is_no_image(tmp_path: Path, name: str) -> None:
    first, second = (Image.new("L", (6, 4), level) for level in (0, 255))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    with pytest.raises(UnusableFileError, match="several frames: expected one image"):
        decode(tmp_path / name)


def test_the_thumbnails_of_a_camera_leave_an_image_one(tmp_path: Path) -> None:
    image, thumbnail = Image.new("L", (12, 8), 200), Image.new("L", (6, 4), 0)
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[thumbnail])
    assert decode(tmp_path / "a.jpg").size == (12, 8)


def test_an_image_beyond_all_bounds_is_told_from_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (14, 14), 9).save(tmp_path / "large.png")
    assert decode(tmp_path / "large.png").size == (14, 14)  # without a warning
    Image.new("L", (15, 14), 9).save(tmp_path / "larger.png")
    with pytest.raises(UnusableFileError, match="too many pixels"):
        decode(tmp_path / "larger.png")


def test_the_transparency_of_a_palette_is_dropped_without_a_word(tmp_path: Path) -> None:
    Image.new("L", (6, 4), 128).convert("P").save(tmp_path / "a.png", transparency=bytes(256))
    assert decode(tmp_path / "a.png").mode == "RGB"


def test_a_mask_that_loses_its_classes_is_unusable(tmp_path: Path) -> None:
    for name in ("mask.png", "mask.jpg"):
        Image.new("L", (6, 4), 1).save(tmp_path / name)
    assert decode_mask(tmp_path / "mask.png", (4, 6)).tolist() == [[1] * 6] * 4
    with pytest.raises(UnusableFileError, match="expected an 8-bit grey or palette PNG"):
        decode_mask(tmp_path / "mask.jpg", (4, 6))


def test_a_header_that_breaks_in_any_way_makes_a_file_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise struct.error("required argument is not an integer")

    Image.new("L", (6, 4), 1).save(tmp_path / "mask.png")
    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    with pytest.raises(UnusableFileError, match="missing or damaged"):
        decode_mask(tmp_path / "mask.png", (4, 6))


def test_printing_colours_are_unusable(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg")
    with pytest.raises(UnusableFileError, match="channels 'CMYK': expected grey or RGB"):
        decode(tmp_path / "a.jpg")


def test_a_folder_in_place_of_a_file_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError, match="missing or damaged"):
        decode(tmp_path)


def test_equal_channels_are_grey_and_unequal_ones_are_not() -> None:
    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    tinted = grey + np.array([40, 0, 0], dtype=np.uint8)
    assert not is_colour(grey)
    assert is_colour(tinted)


def test_resizing_averages_so_that_a_fine_grid_turns_grey() -> None:
    grid = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize_array(grid, 16)
    assert 120 <= small.min() <= small.max() <= 135


@given(height=st.integers(1, 40), width=st.integers(1, 40), px=st.integers(1, 40))
def test_a_resized_mask_has_only_classes_that_it_had(height: int, width: int, px: int) -> None:
    mask = np.random.default_rng(height * width).integers(0, 5, (height, width))
    resized = resize_mask(mask, px)
    assert resized.shape == (px, px)
    assert set(resized.flat) <= set(mask.flat)


@given(size=st.integers(1, 30))
def test_a_mask_of_the_right_size_stays_as_it_is(size: int) -> None:
    mask = np.random.default_rng(size).integers(0, 5, (size, size))
    np.testing.assert_array_equal(resize_mask(mask, size), mask)


@given(height=st.integers(1, 20), width=st.integers(1, 20))
def test_an_image_as_long_as_its_square_lies_in_its_middle_as_it_was(height: int, width: int) -> None:
    image = np.random.default_rng(height).integers(1, 256, (height, width), dtype=np.uint8)
    side = max(height, width)
    square = resize_array(image, side, keep_proportions=True)
    top, left = (side - height) // 2, (side - width) // 2
    assert square.shape == (side, side)
    np.testing.assert_array_equal(square[top : top + height, left : left + width], image)
    assert np.count_nonzero(square) == height * width


def test_proportions_are_kept_between_black_bands(tmp_path: Path) -> None:
    """MGCA: an image of 2000 x 1500 pixels becomes 256 x 192 between bands of 32."""
    Image.new("L", (2000, 1500), 200).save(tmp_path / "film.png")
    dataset = Dataset(name="films", image_px=256, keep_proportions=True)
    pixels = decode_file(tmp_path / "film.png", dataset).pixels
    assert pixels.shape == (256, 256)
    assert not pixels[:32].any()
    assert not pixels[-32:].any()
    assert (pixels[32:-32] == 200).all()
    stretched = decode_file(tmp_path / "film.png", dataset.model_copy(update={"keep_proportions": False})).pixels
    assert (stretched == 200).all()


def test_masks_stay_in_the_place_of_what_they_describe() -> None:
    mask = np.zeros((16, 32), dtype=np.uint8)
    mask[4:8, 8:24] = 1
    image = resize_array(mask * 255, 8, keep_proportions=True)
    np.testing.assert_array_equal(resize_mask(mask, 8, keep_proportions=True), image > 127)


@given(height=st.integers(1, 20), width=st.integers(1, 20), factor=st.integers(1, 4), keep=st.booleans())
def test_a_mask_that_was_enlarged_comes_back_as_it_was(height: int, width: int, factor: int, keep: bool) -> None:
    height = height if keep else width
    mask = np.random.default_rng(height * width).integers(0, 5, (height, width))
    enlarged = resize_mask(mask, factor * max(height, width), keep_proportions=keep)
    np.testing.assert_array_equal(mask_in_size(enlarged, (height, width), keep_proportions=keep), mask)


def test_a_mask_grows_to_the_size_of_its_image() -> None:
    mask = np.array([[0, 1], [2, 0]], dtype=np.uint8)
    np.testing.assert_array_equal(mask_in_size(mask, (2, 4)), [[0, 0, 1, 1], [2, 2, 0, 0]])


def test_proportions_of_volumes_are_not_a_setting() -> None:
    with pytest.raises(ValueError, match="keep_proportions is for images"):
        Dataset(name="heads", kind="volume", depth=4, keep_proportions=True)


def test_a_spec_that_stretches_has_the_text_that_it_had() -> None:
    assert "keep_proportions" not in Dataset(name="films").model_dump_json()
