"""A stage over volumes, clips and pairs: from a spec, through the program of a site, to an update and its figures."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from fedward_core.cards import DataKind, DataNeed, agreed_contract
from fedward_core.order import Order, Work
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import BackboneConfig, Dataset, Spec
from fedward_core.update import SHARED
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.batch import Batch
from fedward_models.data import generate
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.programs.program import Site
from fedward_models.programs.torch_program import TorchProgram
from fedward_models.step import Clock, StepOutput


class Pooled(Backbone):
    """The coarsest look at a volume or a clip: a mean over blocks, and a layer."""

    num_features = 8

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.pool, self.layer = nn.AdaptiveAvgPool3d(4), nn.Linear(64 * channels, 8)

    def forward(self, images: Tensor) -> Tensor:
        assert images.ndim == 5
        return torch.relu(self.layer(self.pool(images).flatten(1)))

    def feature_map(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        return ()

    def layer_of(self, name: str) -> int:
        return 0

    def num_layers(self) -> int:
        return 1


class VolumeConfig(BackboneConfig):
    need: ClassVar[DataNeed] = DataNeed.VOLUME
    name: Literal["pooled"] = "pooled"

    def build(self, *args: Any, **kwargs: Any) -> Pooled:
        return Pooled(channels=kwargs["channels"])


class ClipConfig(VolumeConfig):
    need: ClassVar[DataNeed] = DataNeed.CLIP


DATASETS = {
    DataKind.VOLUME: Dataset(name="heads", kind=DataKind.VOLUME, image_px=16, depth=12),
    DataKind.CLIP: Dataset(name="hearts", kind=DataKind.CLIP, image_px=16, frames=8),
    DataKind.REPORT: Dataset(name="films", kind=DataKind.REPORT, image_px=16),
}
BACKBONES = {DataKind.VOLUME: VolumeConfig(), DataKind.CLIP: ClipConfig(), DataKind.REPORT: {"name": "small_cnn"}}


class Forgetful:
    """Where nothing is private, nothing is read back."""

    def read(self, round_: int, parent: str) -> PrivateEntry:
        raise AssertionError(f"round {round_} of {parent} was never kept")

    def write(self, entry: PrivateEntry) -> None:
        """Keep nothing."""


@pytest.mark.parametrize("kind", DATASETS)
def test_a_stage_trains_and_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: DataKind) -> None:
    seen: list[Batch] = []
    original = Supervised.training_step

    def watched(self: Supervised, batch: Batch, clock: Clock) -> StepOutput:
        seen.append(batch)
        return original(self, batch, clock)

    monkeypatch.setattr(Supervised, "training_step", watched)
    dataset = DATASETS[kind]
    depth = dataset.depth or dataset.frames
    generate(tmp_path, sites=1, images_per_site=24, image_px=16, kind=kind, depth=depth)
    stage = {"name": "only", "method": "supervised", "backbone": BACKBONES[kind], "rounds": 2}
    local = {"batch_size": 4, "augment": True, "device": "cpu"}
    spec = Spec.parse({"name": "trial", "dataset": dataset, "stages": [{**stage, "local": local}]})
    program = TorchProgram(spec, 0)
    site = Site(name="north", data=tmp_path, store=Forgetful())
    plan, weights = program.plan(agreed_contract((program.describe(site),)), None)
    update = program.train(Order(run="r", work=Work.TRAIN, plan=plan), weights, site)
    trained = {**weights, **{name: array.copy() for name, array in update.groups[SHARED].items()}}
    metrics = program.evaluate(Order(run="r", work=Work.EVALUATE, plan=plan), trained, site)
    assert update.num_steps == len(seen) == update.num_examples // 4
    assert seen[0].images.shape[1:] == ((1, 16, 16) if depth is None else (1, depth, 16, 16))
    assert all(batch.reports is None for batch in seen)  # supervised training needs none, so it gets none
    assert metrics["accuracy"].n > 0
