"""Clips of clips: what training draws and what testing averages."""

import pytest
import torch
from torch import Tensor

from fedward_core.cards import Contract, DataKind
from fedward_core.errors import DataError, SpecError
from fedward_models.backbones.sts_resnet.config import STSResNetConfig
from fedward_models.data.batches.clip_settings import ClipSettings
from fedward_models.data.batches.clip_views import draw_clips, views_for_testing
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised


def numbered(frames: int, batch: int = 2, px: int = 12) -> Tensor:
    """Clips whose pixels are the number of their frame."""
    return torch.arange(float(frames)).view(1, 1, -1, 1, 1).expand(batch, 1, frames, px, px)


def times(clip: Tensor) -> list[int]:
    return [int(frame) for frame in clip[0, 0, :, 0, 0]]


def test_windows_are_neighbours_from_any_place() -> None:
    settings, rng = ClipSettings(frames=3, stride=2), torch.Generator().manual_seed(0)
    drawn = [times(draw_clips(numbered(8), settings, rng)) for _ in range(40)]
    assert {tuple(found) for found in drawn} == {(s, s + 2, s + 4) for s in range(4)}


def test_segments_give_one_frame_each() -> None:
    settings, rng = ClipSettings(frames=9, sampling="segments"), torch.Generator().manual_seed(0)
    for _ in range(10):
        found = times(draw_clips(numbered(18, batch=1), settings, rng))
        assert [frame // 2 for frame in found] == list(range(9))
    (view,) = views_for_testing(numbered(18, batch=1), settings)
    assert view.shape == (1, 1, 9, 12, 12)
    assert times(view) == list(range(1, 18, 2))


def test_clips_of_testing_are_evenly_spaced_and_cropped_at_three_places() -> None:
    clips = numbered(10) + torch.arange(12.0) * 100
    views = list(views_for_testing(clips, ClipSettings(frames=4, test_clips=3, crop_px=8, test_crops=3)))
    assert [int(view[0, 0, 0, 0, 0]) for view in views] == [s + c * 100 for s in (0, 3, 6) for c in (0, 2, 4)]
    assert {view.shape for view in views} == {(2, 1, 4, 8, 8)}


def test_one_clip_of_testing_lies_in_the_middle() -> None:
    (view,) = views_for_testing(numbered(10), ClipSettings(frames=3, stride=2))
    assert times(view) == [2, 4, 6]


def test_crops_of_training_are_taken_from_anywhere() -> None:
    clips = torch.arange(16.0).view(1, 1, 1, 4, 4)
    settings, rng = ClipSettings(frames=1, crop_px=3), torch.Generator().manual_seed(0)
    drawn = [draw_clips(clips, settings, rng) for _ in range(40)]
    assert {clip.shape for clip in drawn} == {(1, 1, 1, 3, 3)}
    assert {int(clip[0, 0, 0, 0, 0]) for clip in drawn} == {0, 1, 4, 5}


def supervised(settings: ClipSettings | None, frames: int = 12) -> Supervised:
    backbone = STSResNetConfig(width=4, depths=(1,), stem="small").build(image_px=12, channels=1)
    contract = Contract(kind=DataKind.CLIP, classes=("a", "b", "c"), channels=1, depth=frames)
    torch.manual_seed(0)
    method: Supervised = SupervisedConfig(clips=settings).build(backbone=backbone, contract=contract)
    torch.nn.init.normal_(method.head.get_parameter("weight"))
    return method.eval()


def test_the_prediction_is_the_mean_over_thirty_views() -> None:
    method = supervised(ClipSettings(frames=2, test_clips=10, crop_px=8, test_crops=3))
    clips = torch.randn(2, 1, 12, 12, 12, generator=torch.Generator().manual_seed(3))
    total, views = torch.zeros(2, 3), 0
    for start in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10):
        for column in (0, 2, 4):
            total += method.logits(clips[:, :, start : start + 2, 2:10, column : column + 8]).softmax(dim=1)
            views += 1
    assert views == 30
    torch.testing.assert_close(method.predict(clips), total / 30)


def test_clips_that_are_too_short_or_small_are_refused() -> None:
    rng = torch.Generator()
    with pytest.raises(DataError, match="8 frames, fewer than the 9"):
        draw_clips(numbered(8), ClipSettings(frames=5, stride=2), rng)
    with pytest.raises(DataError, match="no crop of 16"):
        draw_clips(numbered(8), ClipSettings(frames=2, crop_px=16), rng)
    with pytest.raises(DataError, match="found 4 axes"):
        draw_clips(torch.zeros(2, 1, 8, 8), ClipSettings(frames=2), rng)
    with pytest.raises(SpecError, match=r"dataset\.frames is 12"):
        supervised(ClipSettings(frames=13))


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValueError, match="leave stride and test_clips out"):
        ClipSettings(frames=3, sampling="segments", stride=2)
    with pytest.raises(ValueError, match="no effect without crop_px"):
        ClipSettings(frames=3, test_crops=3)
    backbone = STSResNetConfig(width=4, depths=(1,), stem="small").build(image_px=12, channels=1)
    with pytest.raises(SpecError, match=r"dataset\.kind is 'image'"):
        SupervisedConfig(clips=ClipSettings(frames=2)).build(backbone=backbone, contract=Contract(classes=("a", "b")))
