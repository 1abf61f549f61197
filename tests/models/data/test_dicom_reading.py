"""DICOM files and series, written as scanners write them."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import FileDataset, dcmread
from pydicom.dataset import Dataset as Header
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from fedward_core.arrays import Array
from fedward_core.cards import DataKind, Task
from fedward_core.spec import Dataset
from fedward_models.data import list_files
from fedward_models.data.reading.decoding import decode_file
from fedward_models.data.reading.dicom_file import is_dicom, read_dicom_frames
from fedward_models.data.reading.dicom_series import read_dicom_scan
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.voxels import Volume, canonical
from fedward_models.data.site_data import read_site

Writer = Callable[..., Path]
SERIES = generate_uid(entropy_srcs=["a series"])


def volume_in(folder: Path) -> Volume:
    return canonical(*read_dicom_scan(folder))


@pytest.fixture
def write_dicom(tmp_path: Path) -> Writer:
    """Write stored values as a DICOM file; keywords set elements of its header, None leaves one out."""

    def write(name: str, values: Array, **elements: Any) -> Path:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = elements.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        for key, value in ({**plain(values), **elements}).items():
            if value is not None:
                setattr(header, key, value)
        header.save_as(path, enforce_file_format=True)
        return path

    return write


def plain(values: Array) -> dict[str, Any]:
    colour = values.ndim == 3 and values.shape[-1] == 3
    bits = 8 * values.itemsize
    frames = {} if colour or values.ndim == 2 else {"NumberOfFrames": len(values)}
    rows, columns = values.shape[-3:-1] if colour else values.shape[-2:]
    return {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "PatientID": "secret",
        "SeriesInstanceUID": SERIES,
        "SamplesPerPixel": 3 if colour else 1,
        **({"PlanarConfiguration": 0} if colour else {}),
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        **frames,
        "PixelData": values.tobytes(),
    }


RAMP = np.arange(0, 400, 10, dtype=np.int16).reshape(5, 8)


def test_rescaling_comes_before_the_studys_window(write_dicom: Writer) -> None:
    path = write_dicom("a.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-100)
    frames = read_dicom_frames(path, (0.0, 500.0))
    expected = np.clip((RAMP * 2.0 - 100) / 500, 0, 1) * 255
    assert frames.shape == (1, 5, 8)
    assert np.abs(frames[0] - expected).max() <= 0.5


def test_a_files_own_window_is_that_of_the_standard(write_dicom: Writer) -> None:
    """DICOM PS3.3 C.11.2.1.2: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2."""
    path = write_dicom("a.dcm", RAMP, WindowCenter=[200, 5], WindowWidth=[101, 5])
    frames = read_dicom_frames(path, None)[0]
    assert frames[RAMP <= 149].max() == 0
    assert frames[RAMP > 249].min() == 255
    assert frames[RAMP == 200] == pytest.approx(round(50.5 / 100 * 255), abs=1)


def test_an_empty_function_of_the_window_is_the_usual_one(write_dicom: Writer) -> None:
    window = {"WindowCenter": 200, "WindowWidth": 101}
    usual = read_dicom_frames(write_dicom("a.dcm", RAMP, **window), None)
    empty = read_dicom_frames(write_dicom("b.dcm", RAMP, **window, VOILUTFunction=""), None)
    exact = read_dicom_frames(write_dicom("c.dcm", RAMP, **window, VOILUTFunction="LINEAR_EXACT"), None)
    assert (empty == usual).all()
    assert not (exact == usual).all()


def test_without_a_window_the_percentiles_are_shown(write_dicom: Writer) -> None:
    frames = read_dicom_frames(write_dicom("a.dcm", RAMP), None)[0]
    assert (frames.min(), frames.max()) == (0, 255)


def test_a_table_of_levels_is_looked_up(write_dicom: Writer) -> None:
    item = Header()
    item.LUTDescriptor = [400, 0, 16]
    item.LUTData = np.arange(0, 65200, 163, dtype=np.uint16).tobytes()
    path = write_dicom("a.dcm", RAMP.astype(np.uint16), VOILUTSequence=Sequence([item]))
    frames = read_dicom_frames(path, None)[0]
    assert np.abs(frames - RAMP.astype(float) * 163 / 65535 * 255).max() <= 1


def test_what_is_stored_white_on_black_is_inverted(write_dicom: Writer) -> None:
    usual = read_dicom_frames(write_dicom("a.dcm", RAMP), (0.0, 390.0))
    other = read_dicom_frames(write_dicom("b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1"), (0.0, 390.0))
    assert np.abs(usual.astype(int) + other - 255).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count_for_contrast(write_dicom: Writer, photometric: str) -> None:
    padded = RAMP.copy()
    padded[0] = -2000
    path = write_dicom("a.dcm", padded, PixelPaddingValue=-2000, PhotometricInterpretation=photometric)
    frames = read_dicom_frames(path, None)[0]
    assert (frames[0] == 0).all()
    assert frames[1:].min() < 20
    assert np.ptp(frames[1:]) > 200


def test_padding_that_is_written_without_its_sign_is_padding(write_dicom: Writer) -> None:
    """-2000 as 63536, under the VR of the other sign."""
    padded = RAMP.copy()
    padded[0] = -2000
    path = write_dicom("a.dcm", padded)
    header = dcmread(path)
    header.add_new("PixelPaddingValue", "US", 63536)
    header.save_as(path)
    assert np.ptp(read_dicom_frames(path, None)[0][1:]) > 200


def test_a_range_of_padding_is_black_and_does_not_count_for_contrast(write_dicom: Writer) -> None:
    padded = RAMP.copy()
    padded[0] = np.linspace(-2000, -1000, 8)
    path = write_dicom("a.dcm", padded, PixelPaddingValue=-1000, PixelPaddingRangeLimit=-2000)
    frames = read_dicom_frames(path, None)[0]
    assert (frames[0] == 0).all()
    assert np.ptp(frames[1:]) > 200


def group(slope: float, intercept: float, centre: float, width: float) -> Header:
    """What an enhanced file says of a frame."""
    rescaling, window, item = Header(), Header(), Header()
    rescaling.RescaleSlope, rescaling.RescaleIntercept, rescaling.RescaleType = slope, intercept, "HU"
    window.WindowCenter, window.WindowWidth = centre, width
    item.PixelValueTransformationSequence = Sequence([rescaling])
    item.FrameVOILUTSequence = Sequence([window])
    return item


def test_one_frame_of_an_enhanced_file_is_rescaled_and_shown_as_it_says(write_dicom: Writer) -> None:
    usual = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 150, "WindowWidth": 301}
    enhanced = {"SharedFunctionalGroupsSequence": Sequence([group(2, -100, 150, 301)]), "NumberOfFrames": 1}
    for window in (None, (0.0, 500.0)):
        expected = read_dicom_frames(write_dicom("a.dcm", RAMP, **usual), window)
        assert (read_dicom_frames(write_dicom("b.dcm", RAMP, **enhanced), window) == expected).all()


def test_each_frame_of_an_enhanced_file_has_its_own_rescaling(write_dicom: Writer) -> None:
    groups = Sequence([group(1, 0, 200, 401), group(0.5, 0, 7, 8)])
    path = write_dicom("a.dcm", np.stack([RAMP, 2 * RAMP]), PerFrameFunctionalGroupsSequence=groups)
    first, second = read_dicom_frames(path, None)
    assert (first == second).all()
    assert (first == read_dicom_frames(write_dicom("b.dcm", RAMP, WindowCenter=200, WindowWidth=401), None)[0]).all()


def test_enhanced_files_are_no_slices(write_dicom: Writer) -> None:
    folder = write_dicom("head/a.dcm", np.stack([RAMP, RAMP])).parent
    with pytest.raises(UnusableFileError, match="several frames in one file"):
        volume_in(folder)


def test_jpeg_2000_is_decoded_as_it_was(write_dicom: Writer) -> None:
    """As most archives keep their films and slices."""
    content = BytesIO()
    Image.fromarray(RAMP.astype(np.uint16)).save(content, "JPEG2000", irreversible=False, no_jp2=True)
    elements: dict[str, Any] = {"TransferSyntaxUID": JPEG2000Lossless, "PixelData": encapsulate([content.getvalue()])}
    path = write_dicom("a.dcm", RAMP.astype(np.uint16), **elements)
    assert (read_dicom_frames(path, (0.0, 500.0)) == read_dicom_frames(write_dicom("b.dcm", RAMP), (0.0, 500.0))).all()


def test_run_lengths_are_decoded_as_they_were(write_dicom: Writer) -> None:
    path = write_dicom("a.dcm", RAMP)
    expected = read_dicom_frames(path, None)
    header = dcmread(path)
    header.compress(RLELossless)
    header.save_as(path)
    assert (read_dicom_frames(path, None) == expected).all()


def test_jpeg_comes_out_as_rgb(write_dicom: Writer) -> None:
    """Of an ultrasound machine, say: luma and colour differences in the file."""
    colours = np.broadcast_to(np.array([200, 60, 20], dtype=np.uint8), (16, 16, 3))
    content = BytesIO()
    Image.fromarray(colours).save(content, "JPEG", quality=95)
    elements: dict[str, Any] = {"TransferSyntaxUID": JPEGBaseline8Bit, "PixelData": encapsulate([content.getvalue()])}
    path = write_dicom("a.dcm", colours, PhotometricInterpretation="YBR_FULL_422", **elements)
    assert np.abs(read_dicom_frames(path, None)[0].astype(int) - colours).max() <= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_become_colours(write_dicom: Writer, bits: int) -> None:
    """Some devices write levels up to 255 into a palette that they call one of 16 bits."""
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, name in enumerate(("Red", "Green", "Blue")):
        levels = np.arange(256, dtype=np.uint16) * (number + 1) // 3
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = (levels << (bits - 8)).tobytes()
    frames = read_dicom_frames(write_dicom("a.dcm", RAMP.astype(np.uint8), **elements), None)
    expected = [RAMP.astype(np.uint8) * number // 3 for number in np.array([1, 2, 3], dtype=np.uint16)]
    assert (frames[0] == np.stack(expected, axis=-1)).all()


def test_frames_that_the_header_does_not_count_are_frames(write_dicom: Writer) -> None:
    path = write_dicom("a.dcm", np.stack([RAMP, RAMP]), NumberOfFrames=None)
    with pytest.raises(UnusableFileError, match="2 frames: expected one image"):
        decode_file(path, Dataset(name="films", image_px=8))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(["L", "F"], RAMP), (["R", "F"], RAMP[:, ::-1]), (["L", "H"], RAMP[::-1]), (["A", "F"], RAMP), (None, RAMP)],
)
def test_films_are_shown_with_the_right_on_the_left_and_the_head_up(
    write_dicom: Writer, orientation: list[str] | None, turned: Array
) -> None:
    frames = read_dicom_frames(write_dicom("a.dcm", RAMP, PatientOrientation=orientation), (0.0, 390.0))
    assert np.abs(frames[0] - turned / 390 * 255).max() <= 0.5


@pytest.mark.parametrize("orientation", [["L", "F"], ["R", "F"], ["L", "H"], ["R", "H"]])
def test_a_mask_turns_with_its_film(write_dicom: Writer, tmp_path: Path, orientation: list[str]) -> None:
    """A spot that is bright in the film and marked in the mask, both as they are stored."""
    film, mask = np.zeros((8, 8), dtype=np.uint8), np.zeros((8, 8), dtype=np.uint8)
    film[1:3, 5:8], mask[1:3, 5:8] = 255, 1
    write_dicom("north/a.dcm", film, PatientOrientation=orientation, WindowCenter=128, WindowWidth=256)
    Image.fromarray(mask).save(tmp_path / "north" / "m.png")
    (tmp_path / "north" / "labels.csv").write_text("file,mask\na.dcm,m.png\n")
    content = read_site(tmp_path, "north", Dataset(name="films", image_px=8, task=Task.SEGMENTATION))
    assert content.labels is not None
    assert content.labels.any()
    assert np.array_equal(content.images[0, 0] > 127, content.labels[0] == 1)


def test_colour_stays_as_it_is(write_dicom: Writer) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    assert (read_dicom_frames(write_dicom("a.dcm", colours), None)[0] == colours).all()


def test_colour_has_no_window(write_dicom: Writer) -> None:
    path = write_dicom("a.dcm", np.zeros((6, 4, 3), dtype=np.uint8))
    with pytest.raises(UnusableFileError, match="in colour, where a window means nothing"):
        read_dicom_frames(path, (0.0, 1.0))


def test_a_cine_series_has_its_frames_in_order(write_dicom: Writer) -> None:
    cine = np.stack([np.full((4, 6), 50 * number, dtype=np.uint8) for number in range(5)])
    frames = read_dicom_frames(write_dicom("a.dcm", cine), (0.0, 255.0))
    assert frames[:, 0, 0].tolist() == [0, 50, 100, 150, 200]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"PixelData": None}, "it has no pixel data"),
        ({"PhotometricInterpretation": "CIELAB"}, "photometric interpretation is not known"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "its window is 0 wide"),
    ],
)
def test_a_file_that_cannot_be_shown_is_unusable(write_dicom: Writer, elements: dict[str, Any], reason: str) -> None:
    path = write_dicom("a.dcm", RAMP, **elements)
    with pytest.raises(UnusableFileError, match=reason) as refusal:
        read_dicom_frames(path, None)
    assert "secret" not in str(refusal.value)


def test_a_syntax_that_no_decoder_knows_is_unusable_by_its_name(write_dicom: Writer) -> None:
    path = write_dicom("a.dcm", RAMP)
    known, unknown = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99"  # as long; no such syntax
    path.write_bytes(path.read_bytes().replace(known, unknown))
    with pytest.raises(UnusableFileError, match=r"cannot be decoded \(transfer syntax 1\.2\.840\.10008\.1\.2\.99\)"):
        read_dicom_frames(path, None)


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", b"\0" * 128 + b"DICM" + b"\1" * 40])
def test_a_damaged_file_is_unusable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(UnusableFileError, match=r"missing or damaged|no pixel data"):
        read_dicom_frames(tmp_path / "a.dcm", None)


def test_dicom_is_known_by_its_ending_or_its_first_bytes(write_dicom: Writer, tmp_path: Path) -> None:
    assert is_dicom(write_dicom("IM0001", RAMP))
    assert is_dicom(write_dicom("1.2.840.113619.2.55.3", RAMP))  # named by its UID, as most archives do
    assert is_dicom(tmp_path / "missing.DCM")
    assert not is_dicom(tmp_path / "missing.png")
    assert not is_dicom(tmp_path)
    assert not is_dicom(write_dicom("DICOMDIR", RAMP))  # the index of a disk


def test_a_slice_that_is_named_by_its_uid_is_a_slice_and_what_lies_beside_is_none(write_dicom: Writer) -> None:
    folder = write_head(write_dicom)
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"1.2.840.{path.stem}"))
    (folder / "._1.2.840.0.dcm").write_bytes(b"\0\5\x16\7")  # what a Mac leaves on a foreign disk
    write_dicom("head/DICOMDIR", RAMP, PixelData=None)
    assert (volume_in(folder).values == HEAD).all()


# A head of 4 slices, 6 rows and 5 columns, 3 mm apart with pixels of 2 (rows) by 1 mm.
HEAD = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)
AXIAL = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 1]}


def write_head(write_dicom: Writer, order: tuple[int, ...] = (2, 0, 3, 1), **elements: Any) -> Path:
    """Slices in files whose names say nothing of their place."""
    for number, index in enumerate(order):
        place = {"ImagePositionPatient": [0, 0, 3 * index]}
        write_dicom(f"head/{number}.dcm", HEAD[index], **{**AXIAL, **place, **elements})
    return write_dicom("elsewhere.dcm", RAMP).parent / "head"


def test_slices_are_put_in_order_by_their_place(write_dicom: Writer) -> None:
    volume = volume_in(write_head(write_dicom))
    assert (volume.values == HEAD).all()
    assert volume.spacing_mm == pytest.approx((3.0, 2.0, 1.0))


def test_sagittal_slices_come_out_like_axial_ones(write_dicom: Writer) -> None:
    """Columns run to the back, rows to the feet, slices lie from right to left."""
    for column in range(5):
        write_dicom(
            f"head/{column}.dcm",
            np.ascontiguousarray(HEAD[::-1, :, column]),
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
            ImagePositionPatient=[column, 0, 9],
            PixelSpacing=[3, 2],
        )
    volume = volume_in(write_dicom("x.dcm", RAMP).parent / "head")
    assert (volume.values == HEAD).all()
    assert volume.spacing_mm == pytest.approx((3.0, 2.0, 1.0))


def test_a_listing_names_the_patients_of_dicom_files(write_dicom: Writer) -> None:
    folder = write_dicom("west/a.dcm", RAMP).parent
    assert list_files(folder, DataKind.IMAGE)[0].read_text(encoding="utf-8").splitlines()[1] == "a.dcm,,secret"


def test_a_listing_names_the_patient_of_a_series_whatever_lies_beside_its_slices(write_dicom: Writer) -> None:
    folder = write_head(write_dicom).parent
    (folder / "head" / ".notes").write_text("of the scanner")
    (folder / "elsewhere.dcm").unlink()
    table, _ = list_files(folder, DataKind.VOLUME)
    assert table.read_text(encoding="utf-8").splitlines()[1:] == ["head,,secret"]


def test_clips_are_series_scans_videos_and_dicom_files_of_several_frames(write_dicom: Writer) -> None:
    """A still among the films of an examination makes no series of their folder."""
    folder = write_head(write_dicom).parent
    write_dicom("echo/film.dcm", np.stack([RAMP, RAMP]))
    write_dicom("echo/still.dcm", RAMP)
    for name in ("a.mp4", "b.nii.gz"):
        (folder / name).write_bytes(b"")
    table, _ = list_files(folder, DataKind.CLIP)
    assert table.read_text(encoding="utf-8").splitlines()[1:] == [
        "a.mp4,,",
        "b.nii.gz,,",
        "echo/film.dcm,echo,secret",
        "echo/still.dcm,echo,secret",
        "head,,secret",
    ]


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM" + b"\1" * 40, b"\0" * 128 + b"DICM\2\0\0\0UL"])
def test_a_listing_knows_no_patient_of_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    table, count = list_files(tmp_path, DataKind.IMAGE)
    assert (count, table.read_text(encoding="utf-8").splitlines()[1]) == (1, "a.dcm,,")


def test_slices_are_rescaled(write_dicom: Writer) -> None:
    volume = volume_in(write_head(write_dicom, RescaleSlope=1, RescaleIntercept=-1000))
    assert (volume.values == HEAD - 1000).all()


def test_one_slice_is_a_volume_as_thick_as_it_says(write_dicom: Writer) -> None:
    assert volume_in(write_head(write_dicom, (1,), SliceThickness=5)).spacing_mm == pytest.approx((5, 2, 1))
    with pytest.raises(UnusableFileError, match="one slice without a thickness"):
        volume_in(write_head(write_dicom, (1,)))


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"SeriesInstanceUID": generate_uid()}, "2 series in one folder"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "mixed orientation: slices are not parallel"),
        ({"PixelSpacing": [2, 2]}, "mixed spacings: slices differ in the size of their pixels"),
        ({"ImagePositionPatient": None}, "a slice lacks its place"),
        ({"ImagePositionPatient": [0, 0, 3]}, "two slices at one place"),
        ({"ImagePositionPatient": [0, 0, 20]}, "mixed spacings: slices lie unevenly"),
        ({"PixelData": None}, "it has no pixel data"),
    ],
)
def test_slices_that_are_no_volume_are_unusable(write_dicom: Writer, elements: dict[str, Any], reason: str) -> None:
    folder = write_head(write_dicom)
    write_dicom("head/odd.dcm", HEAD[0], **{**AXIAL, "ImagePositionPatient": [0, 0, 12], **elements})
    with pytest.raises(UnusableFileError, match=reason):
        volume_in(folder)


@pytest.mark.parametrize("element", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_whose_place_is_there_but_empty_is_unusable(write_dicom: Writer, element: str) -> None:
    empty: dict[str, Any] = {element: []}
    folder = write_head(write_dicom, **empty)
    study = Dataset(name="ct", kind=DataKind.VOLUME, depth=4, image_px=8)
    with pytest.raises(UnusableFileError, match="not as its format says") as refusal:
        decode_file(folder, study)
    assert str(folder) not in str(refusal.value)


def test_slices_of_another_size_are_unusable(write_dicom: Writer) -> None:
    folder = write_head(write_dicom)
    write_dicom("head/odd.dcm", RAMP, **{**AXIAL, "ImagePositionPatient": [0, 0, 12]})
    with pytest.raises(UnusableFileError, match="slices of different sizes"):
        volume_in(folder)


def test_a_folder_without_slices_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableFileError, match="the folder holds no DICOM file"):
        volume_in(tmp_path / "empty")


def test_a_series_says_where_its_voxels_lie(write_dicom: Writer) -> None:
    """Of oblique slices; DICOM counts to the left and the back, the affine to the right and the front."""
    turned = [0, 1, 0, 0.6, 0, -0.8]  # rows run to the back, columns to the left and the feet
    normal = np.cross(turned[:3], turned[3:])
    for number in (1, 0):
        place = np.array([10.0, 20.0, 30.0]) + number * 3 * normal
        elements = {"ImageOrientationPatient": turned, "ImagePositionPatient": place.tolist(), "PixelSpacing": [2, 1]}
        write_dicom(f"head/{number}.dcm", HEAD[number], **elements)
    scan = read_dicom_scan(write_dicom("x.dcm", RAMP).parent / "head")
    assert scan.values.shape == (5, 6, 2)
    assert scan.values[3, 4, 1] == HEAD[1, 4, 3]
    expected = np.array([10.0, 20.0, 30.0]) + 3 * np.array(turned[:3]) + 4 * 2 * np.array(turned[3:]) + 3 * normal
    found = scan.affine @ [3, 4, 1, 1]
    np.testing.assert_allclose(found[:3], expected * [-1, -1, 1])
