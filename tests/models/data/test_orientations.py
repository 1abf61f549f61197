"""How volumes lie in their files is told before anything is trained, as they are turned into one orientation."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fedward_cli.display.data_tables import show_sites
from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.inspection.inspection import inspect
from fedward_models.data.reading.decoding import orientation_of, read_scan

VOLUMES = Dataset(name="heads", kind=DataKind.VOLUME, depth=8, image_px=8)
# Steps along the file's axes towards right, front and head.
AFFINES = {
    "RAS": np.diag([1.0, 1.0, 1.0, 1.0]),
    "LPS": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "SAL": np.array([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
}


def save(path: Path, affine: np.ndarray) -> None:
    image: Any = nibabel.Nifti1Image
    nibabel.save(image(np.random.default_rng(0).random((8, 8, 8)).astype(np.float32), affine), path)


def save_slice(path: Path, number: int, axes: list[float]) -> None:
    """A slice of a series whose rows and columns run along two directions, to the left and to the back."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    header.SeriesInstanceUID, header.Modality = "1.2.3", "CT"
    header.Rows = header.Columns = 4
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelSpacing, header.ImageOrientationPatient = [1, 1], axes
    header.ImagePositionPatient = [float(x) for x in number * np.cross(axes[:3], axes[3:])]
    header.PixelData = np.arange(16, dtype=np.uint16).tobytes()
    header.save_as(path)


@pytest.mark.parametrize("axes", AFFINES)
def test_the_header_of_a_nifti_file_tells_its_axes(tmp_path: Path, axes: str) -> None:
    save(tmp_path / "a.nii.gz", AFFINES[axes])
    assert orientation_of(tmp_path / "a.nii.gz") == axes


@pytest.mark.parametrize(
    ("directions", "axes"), [([1, 0, 0, 0, 1, 0], "LPS"), ([0, 1, 0, 0, 0, -1], "PIR"), ([1, 0, 0, 0, 0, -1], "LIP")]
)
def test_a_series_has_the_axes_of_the_scan_that_is_read(tmp_path: Path, directions: list[float], axes: str) -> None:
    (folder := tmp_path / "series").mkdir()
    for number in range(3):
        save_slice(folder / f"{number}.dcm", number, directions)
    found = nibabel.orientations.aff2axcodes(read_scan(folder).affine)  # type: ignore[no-untyped-call]
    assert orientation_of(folder) == "".join(found) == axes


def test_mixed_orientations_are_said_by_those_who_look_at_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder := tmp_path / "data" / "north").mkdir(parents=True)
    names = {"a.nii": "RAS", "b.nii": "LPS", "c.nii": "RAS"}
    for name, axes in names.items():
        save(folder / name, AFFINES[axes])
    (folder / "damaged.nii").write_bytes(b"no scan")
    (folder / "labels.csv").write_text("file\n" + "".join(f"{name}\n" for name in (*names, "damaged.nii")))
    (summary,) = inspect(tmp_path / "data", VOLUMES)
    assert summary.orientations == {"RAS": 2, "LPS": 1}
    show_sites([summary])
    assert "north: axes of volumes in their files: LPS 1, RAS 2. All are turned" in capsys.readouterr().out


def test_arrays_have_no_axes_of_their_own(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "north.npz", volumes=volumes)
    (summary,) = inspect(tmp_path, VOLUMES)
    assert not summary.orientations
