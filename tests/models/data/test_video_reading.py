"""Clips from videos."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.video import middle, read_video

Writer = Callable[..., Path]


def study(frames: int = 4, stride: int = 1, px: int = 16) -> Dataset:
    return Dataset(name="x", kind=DataKind.CLIP, frames=frames, frame_stride=stride, image_px=px)


@pytest.fixture
def write_video(tmp_path: Path) -> Writer:
    """Write frames as a video, in a codec that keeps every level, or in one that does not."""

    def write(frames: Array, name: str = "a.mkv", codec: str = "ffv1", layout: str = "gray") -> Path:
        with av.open(tmp_path / name, "w") as container:
            stream: Any = container.add_stream(codec, rate=8)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = layout
            for pixels in frames:
                given = "rgb24" if pixels.ndim == 3 else "gray"
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=given)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return tmp_path / name

    return write


def numbered(count: int, px: int = 16) -> Array:
    """Frames whose level is ten times their number."""
    return np.broadcast_to(10 * np.arange(count, dtype=np.uint8)[:, None, None], (count, px, px)).copy()


def levels(pixels: Array) -> list[int]:
    return [int(frame.mean().round()) for frame in pixels]


@pytest.mark.parametrize(
    ("count", "frames", "stride", "expected"),
    [(4, 4, 1, [0, 1, 2, 3]), (9, 3, 1, [3, 4, 5]), (9, 3, 3, [1, 4, 7]), (8, 3, 3, [0, 3, 6]), (5, 1, 7, [2])],
)
def test_a_clip_is_from_the_middle(count: int, frames: int, stride: int, expected: list[int]) -> None:
    assert list(middle(count, study(frames, stride))) == expected


def test_frames_come_in_order_of_time(write_video: Writer) -> None:
    decoded = read_video(write_video(numbered(12)), study(frames=3, stride=3))
    assert levels(decoded.pixels) == [20, 50, 80]
    assert decoded.size == (3, 16, 16)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mp4", "mpeg4"), ("a.mpg", "mpeg2video")])
def test_usual_containers_are_read(write_video: Writer, name: str, codec: str) -> None:
    video = write_video(numbered(8, px=32), name, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p")
    found = levels(read_video(video, study(frames=8)).pixels)
    assert np.abs(np.array(found) - 10 * np.arange(8)).max() <= 12  # these codecs have no level below 16


def test_gifs_are_read(tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415 - beside its only use

    pictures = [Image.fromarray(frame) for frame in numbered(6)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    assert levels(read_video(tmp_path / "a.gif", study(frames=6)).pixels) == [0, 10, 20, 30, 40, 50]


def test_frames_are_resized(write_video: Writer) -> None:
    frames = np.zeros((4, 32, 64), dtype=np.uint8)
    frames[:, :, 32:] = 200
    decoded = read_video(write_video(frames), study(px=8))
    assert decoded.pixels.shape == (4, 8, 8, 3)
    assert decoded.size == (4, 32, 64)
    assert np.abs(decoded.pixels[:, :, [0, -1], 0].astype(int) - [0, 200]).max() <= 2


def test_colours_stay(write_video: Writer) -> None:
    frames = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    frames[..., 0] = 180
    pixels = read_video(write_video(frames, layout="bgr0"), study()).pixels
    assert np.abs(pixels.mean(axis=(0, 1, 2)) - [180, 0, 0]).max() <= 2


def test_a_video_that_is_too_short_is_unusable(write_video: Writer) -> None:
    with pytest.raises(UnusableFileError, match="6 frames, expected at least 7"):
        read_video(write_video(numbered(6)), study(frames=4, stride=2))


def test_a_damaged_frame_makes_a_video_unusable(write_video: Writer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    video = write_video(noise, "a.avi", "png")  # a codec with a checksum for every frame
    content = bytearray(video.read_bytes())
    content[len(content) // 2] ^= 0xFF
    video.write_bytes(content)
    with pytest.raises(UnusableFileError, match=r"frame . (is damaged|cannot be decoded)"):
        read_video(video, study())


def test_a_frame_that_the_decoder_marks_as_damaged_makes_a_video_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [SimpleNamespace(is_corrupt=corrupt) for corrupt in (False, True)]
    stream = SimpleNamespace(codec_context=SimpleNamespace())
    container = SimpleNamespace(streams=SimpleNamespace(video=[stream]), decode=lambda video: iter(frames))
    monkeypatch.setattr(av, "open", lambda _: nullcontext(container))
    with pytest.raises(UnusableFileError, match="frame 1 is damaged"):
        read_video(Path("a.mp4"), study())


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_what_is_no_video_is_unusable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnusableFileError, match="missing or damaged: expected a video"):
        read_video(tmp_path / "a.mp4", study())


def test_a_missing_video_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError, match="missing or damaged"):
        read_video(tmp_path / "a.mp4", study())


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.wav", "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 160), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(UnusableFileError, match="it holds no video"):
        read_video(tmp_path / "a.wav", study())
