"""A scan is read as a clip: its slices from feet to head are the frames."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import decode_file
from fedward_models.data.reading.found import UnusableFileError

# Stored from the head down, columns from the patient's left to the right: as a clip both are turned.
AFFINE = np.diag([1.0, -1.0, -2.0, 1.0])


def study(frames: int = 3, **settings: Any) -> Dataset:
    return Dataset.model_validate({"name": "ct", "kind": DataKind.CLIP, "frames": frames, "image_px": 8, **settings})


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Five slices, each 100 units above the one below it; the patient's right half is 40 brighter."""
    heights = np.arange(5)[::-1] * 100.0 - 200
    values: Array = np.broadcast_to(heights, (8, 8, 5)).astype(np.float32).copy()
    values[4:] += 40  # along the first axis, to the right
    image: Any = nibabel.Nifti1Image
    nibabel.save(image(values, AFFINE), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_frames_go_from_feet_to_head_with_the_right_on_the_left(scan: Path) -> None:
    decoded = decode_file(scan, study(window=(-200, 240)))
    assert decoded.size == (3, 8, 8)
    assert decoded.pixels.shape == (3, 8, 8)
    left, right = decoded.pixels[:, 0, 0], decoded.pixels[:, 0, 7]
    np.testing.assert_array_equal(left, np.rint((np.array([-60.0, 40, 140]) + 200) * 255 / 440))
    assert (right < left).all()


def test_without_a_window_the_contrast_is_that_of_the_whole_scan(scan: Path) -> None:
    pixels = decode_file(scan, study(frames=5)).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.diff(pixels[:, 0, 0].astype(int)) > 0).all()


def test_a_scan_of_fewer_slices_than_frames_is_unusable(scan: Path) -> None:
    with pytest.raises(UnusableFileError, match="5 frames, expected at least 6"):
        decode_file(scan, study(frames=6))


def test_a_video_has_no_window(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(UnusableFileError, match=r"an 8-bit video, where dataset\.window has no effect"):
        decode_file(tmp_path / "a.mp4", study(window=(0, 1)))
