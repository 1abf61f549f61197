"""Probing: nothing but the head moves, masks are learned and measured as published, and stages follow each other."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from fedward_core.arrays import Array, digest
from fedward_core.cards import Contract, DataKind, Task
from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_core.partition import Partition
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.config import CLIPViTConfig
from fedward_models.backbones.resnet.config import ResNetConfig
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of, seeded
from fedward_models.frozen import FrozenWeights, file_digest
from fedward_models.losses.focal_dice import focal_loss
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.probe.boxes import box_precision, boxes_of
from fedward_models.methods.probe.config import ProbeConfig
from fedward_models.methods.probe.mask_measures import box_precisions, dice_of_every_image
from fedward_models.methods.probe.probe import Probe
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock
from fedward_models.towers.places import read_places
from fedward_models.weights import arrays_of

CLASSES = Contract(classes=("normal", "pneumonia", "covid"), channels=3)
MASKS = Contract(classes=("background", "lesion"), channels=3, task=Task.SEGMENTATION)
BACKBONES = {
    "vit": ViTConfig(width=16, depth=2, heads=2, patch_px=8),
    "clip_vit": CLIPViTConfig(width=16, depth=2, heads=2, patch_px=8, features=8),
    "resnet": ResNetConfig(width=2, depths=(1, 1, 1, 1)),
    "small_cnn": SmallCNNConfig(widths=(4, 6), hidden=(8,)),
}


def network(name: str = "vit", *, seed: int = 0) -> Backbone:
    with seeded(seed):
        backbone = BACKBONES[name].build(image_px=32, channels=3)
    assert isinstance(backbone, Backbone)
    return backbone


def build(name: str = "vit", *, contract: Contract = CLASSES, seed: int = 0, **settings: Any) -> Probe:
    config = ProbeConfig.model_validate({"weights": "as_built"} | settings)
    with seeded(seed):
        return Probe(config, backbone=network(name, seed=seed), contract=contract)


def batch(contract: Contract = CLASSES) -> Batch:
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(6, 3, 32, 32, generator=rng)
    labels = torch.arange(6) % 3
    if contract.task is Task.SEGMENTATION:
        labels = torch.zeros(6, 32, 32, dtype=torch.long)
        labels[:3, 4:12, 8:20] = 1
    if contract.task is Task.MULTI_LABEL:
        labels = torch.randint(2, (6, 3), generator=rng)
    return Batch(images=images, labels=labels, mean=0.5, std=0.25)


def steps(method: Probe, given: Batch, count: int = 8) -> float:
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.01)
    method.train()
    for _ in range(count):
        optimizer.zero_grad()
        loss = method.training_step(method.prepare(given, torch.Generator().manual_seed(0)), Clock()).loss
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("contract", [CLASSES, MASKS], ids=["classes", "masks"])
def test_training_moves_the_head_alone_and_lowers_the_loss(name: str, contract: Contract) -> None:
    method, given = build(name, contract=contract), batch(contract)
    before = digest({key: array.copy() for key, array in arrays_of(method.backbone).items()})
    first = steps(method, given, 1)
    assert steps(method, given) < first
    assert digest(arrays_of(method.backbone)) == before
    assert {n.split(".")[0] for n, p in method.named_parameters() if p.requires_grad} == {"head"}
    assert not any(module.training for module in method.backbone.modules())


def test_the_head_travels_and_the_backbone_stays() -> None:
    method = build()
    shared, private = Partition(manifest_of(method), method.rules()).split(arrays_of(method))
    assert set(shared) == {"head.weight", "head.bias"}
    assert all(name.startswith("backbone.") for name in private)


def test_class_tokens_are_those_that_mgca_aligns_and_clip_has_before_its_projection() -> None:
    given = batch()
    of_vit, of_clip = build("vit", features="class_token"), build("clip_vit", features="class_token")
    expected = of_vit.head(read_places(of_vit.backbone.network, given.images).image)
    torch.testing.assert_close(of_vit.scores(given), expected)
    assert (of_clip.head.get_parameter("weight").shape[1], of_clip.backbone.num_features) == (16, 8)
    with pytest.raises(SpecError, match="has none: leave features out"):
        build("small_cnn", features="class_token")


def test_pixels_are_standardised_as_the_network_expects() -> None:
    given = batch()
    site, imagenet = build(), build(normalisation="imagenet")
    torch.testing.assert_close(site.scores(given), site.logits(given.images))
    pixels = (given.images * given.std + given.mean).clamp(0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(imagenet.scores(given), site.logits(seen))
    assert (site.standardises, imagenet.standardises) == (False, True)
    with pytest.raises(SpecError, match="reads pixels"):
        imagenet.logits(given.images)
    with pytest.raises(SpecError, match="for colour images"):
        Probe(
            ProbeConfig(weights="as_built", normalisation="imagenet"),
            backbone=ViTConfig(width=16, depth=1, heads=2, patch_px=8).build(image_px=32, channels=1),
            contract=Contract(classes=("a", "b")),
        )


def test_the_loss_of_masks_is_ten_times_focal_minus_the_logarithm_of_the_batchs_dice() -> None:
    method, given = build("resnet", contract=MASKS).eval(), batch(MASKS)
    assert given.labels is not None
    scores, labels = method.scores(given).detach(), given.labels
    chance = scores.softmax(dim=1)[:, 1]
    dice = (2 * (chance * labels).sum() + 1) / (chance.sum() + labels.sum() + 1)
    expected = 10 * focal_loss(scores, labels).mean() - dice.log()
    torch.testing.assert_close(method.training_step(given, Clock()).loss.detach(), expected)
    assert method.evaluation_loss(given).shape == (6,)


@pytest.mark.parametrize(
    "decoder", [{"kind": "linear"}, {"kind": "progressive", "width": 8}, {"kind": "unet", "width": 8}]
)
def test_every_decoder_tells_the_class_of_every_pixel(decoder: dict[str, Any]) -> None:
    method = build("resnet", contract=MASKS, decoder=decoder).eval()
    probabilities = method.predict(batch(MASKS).images)
    assert probabilities.shape == (6, 2, 32, 32)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6, 32, 32))


def test_a_linear_decoder_has_no_width() -> None:
    with pytest.raises(ValueError, match="width has no effect with kind 'linear'"):
        ProbeConfig(decoder={"kind": "linear", "width": 8})


def test_several_labels_have_probabilities_of_their_own() -> None:
    contract = CLASSES.model_copy(update={"task": Task.MULTI_LABEL})
    method = build(contract=contract)
    given = batch(contract)
    first = steps(method, given, 1)
    assert steps(method, given) < first
    assert method.predict_batch(given).shape == (6, 3)


@pytest.mark.parametrize(
    ("name", "contract", "settings", "message"),
    [
        ("vit", CLASSES, {"decoder": {}}, "no effect on the task 'classification'"),
        ("vit", MASKS, {"features": "class_token"}, "no effect on segmentation"),
        ("vit", MASKS, {"view": {}}, "not their masks"),
        ("vit", MASKS, {"decoder": {"kind": "unet"}}, "only 'resnet' has"),
        ("vit", CLASSES.model_copy(update={"kind": DataKind.CLIP, "depth": 4}), {"view": {}}, "of flat images"),
    ],
)
def test_settings_without_effect_are_refused(
    name: str, contract: Contract, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        build(name, contract=contract, **settings)


def test_no_channels_of_a_frozen_network_can_be_divided() -> None:
    with pytest.raises(SpecError, match="personalise with ditto or local_only"):
        build().backbone.channel_groups()


def test_a_dataset_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="found none"):
        build().training_step(Batch(images=batch().images), Clock())


# --- Stages that follow each other.


def test_a_probe_follows_pre_training_and_hands_the_backbone_on() -> None:
    """Pre-training, probe, fine-tuning in one spec: the backbone is the same at the beginning of each."""
    source = MAE(
        MAEConfig(decoder_width=8, decoder_heads=2, decoder_depth=1), backbone=network(seed=3), contract=CLASSES
    )
    probe = build(weights="previous")
    inheritance = probe.inherit(source.state_dict(), source)
    assert set(inheritance.new) == {n for n in probe.state_dict() if n.startswith(("head.", "backbone.fc_norm."))}
    assert all(torch.equal(probe.state_dict()[name], source.state_dict()[name]) for name in inheritance.taken)
    classifier = Supervised(SupervisedConfig(), backbone=network(seed=4), contract=CLASSES)
    taken = classifier.inherit(probe.state_dict(), probe).taken
    assert set(taken) == {name for name in classifier.state_dict() if name.startswith("backbone.")}


def test_several_probes_in_a_row_may_each_begin_with_a_new_head() -> None:
    first = build(weights="previous", seed=1)
    steps(first, batch())
    on, anew = build(weights="previous"), build(weights="previous", new_head=True)
    for probe, keeps in ((on, True), (anew, False)):
        inheritance = probe.inherit(first.state_dict(), first)
        assert torch.equal(probe.head.get_parameter("weight"), first.head.get_parameter("weight")) is keeps
        assert ("head.weight" in inheritance.new) is not keeps
        assert digest(arrays_of(probe.backbone)) == digest(arrays_of(first.backbone))
    with pytest.raises(ValueError, match="follows no other"):
        ProbeConfig(weights="as_built", new_head=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "class_token"}, "reads the features 'pooled', this one 'class_token'"),
        (
            {"normalisation": "imagenet"},
            "pixels of the standard 'site', and the probe would show it those of 'imagenet'",
        ),
    ],
)
def test_a_head_is_not_taken_over_by_a_probe_that_shows_it_something_else(
    settings: dict[str, Any], message: str
) -> None:
    first = build(weights="previous")
    with pytest.raises(SpecError, match=message):
        build(weights="previous", **settings).inherit(first.state_dict(), first)
    build(weights="previous", features="class_token", new_head=True).inherit(first.state_dict(), first)


def test_weights_of_its_own_are_not_replaced_by_a_previous_stage() -> None:
    source = Supervised(SupervisedConfig(), backbone=network(), contract=CLASSES)
    with pytest.raises(SpecError, match="weights of its own"):
        build(weights="as_built").inherit(source.state_dict(), source)
    other = Supervised(SupervisedConfig(), backbone=network("small_cnn"), contract=CLASSES)
    with pytest.raises(CheckpointError, match="cannot go on from the previous stage"):
        build(weights="previous").inherit(other.state_dict(), other)


def test_a_file_gives_the_backbone_which_then_is_no_part_of_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    source = network(seed=5)
    save_file(source.state_dict(), path := tmp_path / "tower.safetensors")
    method = build(weights=FrozenWeights(name="tower", sha256=file_digest(path)))
    assert set(method.state_dict()) == {"head.weight", "head.bias"}
    torch.testing.assert_close(method.backbone(batch().images), source.eval()(batch().images))
    assert method.notes == (f"frozen backbone: frozen weights 'tower', sha256 {file_digest(path)}",)


# --- Measures of masks.


def told(masks: Tensor) -> Tensor:
    """(B, H, W) class numbers as sure probabilities."""
    return torch.nn.functional.one_hot(masks, 2).movedim(-1, 1).double()


def test_nothing_beside_nothing_is_right_and_anything_beside_nothing_is_wrong() -> None:
    empty, spot = torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 4, 4, dtype=torch.long)
    spot[0, 0, 0] = 1
    predicted, labels = torch.cat([empty, spot, empty, spot]), torch.cat([empty, empty, spot, spot])
    assert dice_of_every_image(told(predicted), labels).tolist() == [1, 0, 0, 1]
    assert box_precisions(told(predicted), labels).tolist() == [1, 0, 0, 1]


def test_boxes_surround_connected_parts_and_the_surest_is_first() -> None:
    mask, sure = np.zeros((8, 8), dtype=bool), np.zeros((8, 8))
    mask[1:3, 1:4], mask[5:7, 4:8] = True, True
    sure[1:3, 1:4], sure[5:7, 4:8] = 0.6, 0.9
    assert boxes_of(mask, sure).tolist() == [[4, 5, 8, 7], [1, 1, 4, 3]]
    assert boxes_of(np.zeros((8, 8), dtype=bool)).shape == (0, 4)


def boxes(count: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (count, 2)).astype(float)
    return np.concatenate([corners, corners + rng.integers(1, 12, (count, 2))], axis=1)


def overlap(one: Array, other: Array) -> float:
    width, height = (min(one[2 + axis], other[2 + axis]) - max(one[axis], other[axis]) for axis in (0, 1))
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(both / (sum(areas) - both))


@given(count=st.integers(0, 5), true=st.integers(0, 5), seed=st.integers(0, 99))
def test_precision_of_boxes_against_its_slow_twin(count: int, true: int, seed: int) -> None:
    predicted, truth = boxes(count, seed), boxes(true, seed + 1)
    scores = []
    for step in range(8):
        free = list(range(true))
        for box in predicted:
            best = max(free, key=lambda index: (overlap(box, truth[index]), -index), default=None)
            if best is not None and overlap(box, truth[best]) > 0.4 + 0.05 * step:
                free.remove(best)
        found = true - len(free)
        scores.append(found / (count + true - found) if count + true else 1.0)
    assert box_precision(predicted, truth) == pytest.approx(np.mean(scores))


@given(count=st.integers(1, 5), seed=st.integers(0, 99))
def test_perfect_boxes_score_1_and_images_without_predictions_lower_the_mean(count: int, seed: int) -> None:
    truth = boxes(count, seed)
    assert box_precision(truth, truth) == pytest.approx(1.0)
    assert box_precision(np.zeros((0, 4)), truth) == 0.0


@torch.no_grad()
def test_evaluation_measures_masks_only() -> None:
    assert set(build(contract=MASKS).measures(batch(MASKS))) == {"dice_of_every_image", "box_precision"}
    assert not build().measures(batch())


def test_its_page_tells_every_setting_of_decoders() -> None:
    page = (Path(__file__).parents[3] / "docs" / "zoo" / "probe.md").read_text()
    settings = set(re.findall(r"^\| `decoder\.(\w+)` \|", page, flags=re.MULTILINE))
    assert settings == {"kind", "width", "focal_weight", "focal_gamma", "dice_smooth"}
