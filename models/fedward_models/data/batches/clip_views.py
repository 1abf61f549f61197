"""Clips of longer clips: one at random for training, and evenly spaced ones with crops for testing.

Source: X. Li et al., "In Defense of Image Pre-Training for Spatiotemporal Recognition", ECCV 2022, with the usual
protocol of 10 clips by 3 crops of X. Wang et al., "Non-local Neural Networks", CVPR 2018.

Letters: B batch, C channel, T frame, H height, W width.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from fedward_core.errors import DataError
from fedward_models.data.batches.clip_settings import ClipSettings


def draw_clips(clips: Tensor, settings: ClipSettings, rng: torch.Generator) -> Tensor:
    """One random clip of each.

    Args:
        clips: (B, C, T, H, W).
        settings: How many frames, and how they are taken.
        rng: A CPU generator.

    Returns:
        (B, C, T', H', W').

    Raises:
        DataError: The clips are shorter or smaller than asked for.
    """
    _refuse_short(clips, settings)
    drawn = [_cut(clip, settings, _times(clip.shape[1], settings, rng), _corner(clip, settings, rng)) for clip in clips]
    return torch.stack(drawn)


def views_for_testing(clips: Tensor, settings: ClipSettings) -> Iterator[Tensor]:
    """All views of testing, each (B, C, T', H', W'): every clip in the order of time, with each of its crops.

    Raises:
        DataError: The clips are shorter or smaller than asked for.
    """
    _refuse_short(clips, settings)
    for times in _test_times(clips.shape[2], settings):
        for row, column in _test_corners(clips, settings):
            yield _cut(clips, settings, times, (row, column))


def _cut(clips: Tensor, settings: ClipSettings, times: list[int], corner: tuple[int, int]) -> Tensor:
    chosen = clips[..., times, :, :]
    if settings.crop_px is None:
        return chosen
    row, column = corner
    return chosen[..., row : row + settings.crop_px, column : column + settings.crop_px]


def _times(count: int, settings: ClipSettings, rng: torch.Generator) -> list[int]:
    """Frames of a random clip; of segments, a random frame of each."""
    if settings.sampling == "segments":
        bounds = [count * part // settings.frames for part in range(settings.frames + 1)]
        return [_integer(low, high, rng) for low, high in pairwise(bounds)]
    start = _integer(0, count - settings.span + 1, rng)
    return list(range(start, start + settings.span, settings.stride))


def _test_times(count: int, settings: ClipSettings) -> list[list[int]]:
    """Frames of clips that are evenly spaced from the first to the last; one clip lies in the middle."""
    if settings.sampling == "segments":
        return [[(2 * part + 1) * count // (2 * settings.frames) for part in range(settings.frames)]]
    room, clips = count - settings.span, settings.test_clips
    starts = [room // 2] if clips == 1 else [round(room * place / (clips - 1)) for place in range(clips)]
    return [list(range(start, start + settings.span, settings.stride)) for start in starts]


def _corner(clip: Tensor, settings: ClipSettings, rng: torch.Generator) -> tuple[int, int]:
    if settings.crop_px is None:
        return 0, 0
    row, column = (_integer(0, size - settings.crop_px + 1, rng) for size in clip.shape[-2:])
    return row, column


def _test_corners(clips: Tensor, settings: ClipSettings) -> list[tuple[int, int]]:
    """The middle of the height; the middle of the width, or its ends too."""
    if settings.crop_px is None:
        return [(0, 0)]
    down, right = (size - settings.crop_px for size in clips.shape[-2:])
    return [(down // 2, column) for column in ((right // 2,) if settings.test_crops == 1 else (0, right // 2, right))]


def _integer(low: int, high: int, rng: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def _refuse_short(clips: Tensor, settings: ClipSettings) -> None:
    if clips.ndim != 5:
        raise DataError(f"clips need (batch, channels, frames, height, width), found {clips.ndim} axes: use kind clip")
    frames, *sizes = clips.shape[2:]
    if frames < settings.span:
        raise DataError(
            f"clips have {frames} frames, fewer than the {settings.span} that {settings.frames} at stride "
            f"{settings.stride} need: raise dataset.frames, or ask for less"
        )
    if settings.crop_px is not None and min(sizes) < settings.crop_px:
        raise DataError(f"frames of {min(sizes)} pixels have no crop of {settings.crop_px}: lower crop_px")
