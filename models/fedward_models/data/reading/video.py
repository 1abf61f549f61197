"""Videos, in whatever format FFmpeg decodes: mp4, avi, gif and so on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedward_core.arrays import Array
from fedward_core.spec import Dataset
from fedward_models.data.reading.found import Decoded, UnusableFileError
from fedward_models.data.reading.pixels import resize_array

SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})

STRICT = {"err_detect": "crccheck+explode"}  # FFmpeg hides damage where it can; codecs without checksums show none


def read_video(path: Path, dataset: Dataset) -> Decoded:
    """Read a clip from the middle of a video.

    The video is decoded twice, first to count its frames, which not every file tells truly; so no more than the clip
    is ever in memory.

    Raises:
        UnusableFileError: The file is missing or damaged, a frame cannot be decoded, or there are too few.
    """
    chosen = middle(sum(1 for _ in _frames(path)), dataset)
    wanted = set(chosen)
    pictures = [frame.to_ndarray(format="rgb24") for index, frame in enumerate(_frames(path)) if index in wanted]
    return clip_of(np.stack(pictures), dataset)


def clip_of(frames: Array, dataset: Dataset) -> Decoded:
    """Chosen frames, (T, H, W) or (T, H, W, 3) uint8, resized."""
    pixels = np.stack([resize_array(frame, dataset.image_px) for frame in frames])
    return Decoded(pixels=pixels, size=frames.shape[:3])


def middle(count: int, dataset: Dataset) -> range:
    """Which frames of a video make the clip: every so many, around the middle.

    Raises:
        UnusableFileError: There are too few.
    """
    assert dataset.frames is not None
    span = (dataset.frames - 1) * dataset.frame_stride + 1
    if count < span:
        raise UnusableFileError(f"{count} frames, expected at least {span} for {dataset.frames} of the study's clips")
    start = (count - span) // 2
    return range(start, start + span, dataset.frame_stride)


def _frames(path: Path) -> Iterator[Any]:
    import av  # noqa: PLC0415 - slow to import

    number = 0
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise UnusableFileError("it holds no video")
            container.streams.video[0].codec_context.options = STRICT
            for frame in container.decode(video=0):
                if frame.is_corrupt:
                    raise UnusableFileError(f"frame {number} is damaged: export the video again")
                yield frame
                number += 1
    except av.error.FFmpegError as error:
        reason = f"frame {number} cannot be decoded" if number else "missing or damaged: expected a video that decodes"
        raise UnusableFileError(reason) from error
