"""Training with labels: tasks, the head, mixing, and what a stage takes over."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fedward_core.cards import Contract, DataKind, Task
from fedward_core.errors import CheckpointError, DataError, SpecError, UntrainedError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.losses.focal_dice import soft_dice
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock
from fedward_models.training.evaluation import evaluate

LABELS = {
    Task.CLASSIFICATION: torch.tensor([0, 2, 1]),
    Task.MULTI_LABEL: torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0]]),
    Task.SEGMENTATION: torch.arange(3 * 32 * 32).reshape(3, 32, 32) % 3,
}


def contract(task: Task = Task.CLASSIFICATION, num_classes: int = 3) -> Contract:
    return Contract(task=task, classes=tuple(f"class {index}" for index in range(num_classes)), channels=3)


COLOUR = contract()


def vit(**settings: Any) -> Backbone:
    config = ViTConfig(**{"width": 24, "depth": 2, "heads": 3, "patch_px": 8, **settings})
    backbone = config.build(image_px=32, channels=3)
    assert isinstance(backbone, Backbone)
    return backbone


def build(backbone: Backbone | None = None, contract: Contract = COLOUR, **settings: Any) -> Supervised:
    method = SupervisedConfig(**settings).build(backbone=backbone or vit(), contract=contract)
    assert isinstance(method, Supervised)
    return method


def mae(backbone: Backbone | None = None) -> MAE:
    config = MAEConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)
    method = config.build(backbone=backbone or vit(), contract=COLOUR)
    assert isinstance(method, MAE)
    return method


def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_the_published_network_has_the_published_number_of_parameters(num_classes: int) -> None:
    """SSL-FL, Sec. 2.3."""
    with torch.device("meta"):
        backbone = ViTConfig(width=768, depth=12, heads=12, patch_px=16).build(image_px=224, channels=3)
        method = build(backbone, contract(num_classes=num_classes))
    published = {2: 85_800_194, 3: 85_800_963, 7: 85_804_039}
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == published[num_classes]


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("backbone", [ViTConfig(width=24, depth=2, heads=3, patch_px=8), SmallCNNConfig()])
def test_probabilities_have_the_shape_and_the_sum_of_the_task(task: Task, backbone: Any) -> None:
    method = build(backbone.build(image_px=32, channels=3), contract(task)).eval()
    torch.nn.init.normal_(method.head.weight)
    probabilities = method.predict(images())
    assert probabilities.shape == ((3, 3, 32, 32) if task is Task.SEGMENTATION else (3, 3))
    if task is Task.MULTI_LABEL:
        torch.testing.assert_close(probabilities, method.logits(images()).sigmoid())
    else:
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones_like(probabilities[:, 0]))


@pytest.mark.parametrize("task", Task)
def test_losses_are_those_of_the_task(task: Task) -> None:
    method = build(contract=contract(task)).eval()
    torch.nn.init.normal_(method.head.weight)
    batch = Batch(images=images(), labels=LABELS[task])
    logits, labels = method.logits(batch.images), LABELS[task]
    expected = {
        Task.CLASSIFICATION: lambda: functional.cross_entropy(logits, labels),
        Task.MULTI_LABEL: lambda: functional.binary_cross_entropy(logits.double().sigmoid(), labels.double()).float(),
        Task.SEGMENTATION: lambda: functional.cross_entropy(logits, labels),
    }
    torch.testing.assert_close(method.training_step(batch, Clock()).loss, expected[task]())
    torch.testing.assert_close(method.evaluation_loss(batch).mean(), expected[task]())
    assert method.evaluation_loss(batch).shape == (3,)


def test_overlap_joins_the_loss_of_masks_on_demand() -> None:
    task, weight = contract(Task.SEGMENTATION), 0.7
    plain, method = build(contract=task).eval(), build(contract=task, dice_weight=weight).eval()
    torch.nn.init.normal_(method.head.weight)
    plain.load_state_dict(method.state_dict())
    batch = Batch(images=images(), labels=LABELS[Task.SEGMENTATION])
    missed = 1 - soft_dice(method.logits(batch.images), LABELS[Task.SEGMENTATION])
    torch.testing.assert_close(method.evaluation_loss(batch), plain.evaluation_loss(batch) + weight * missed)


def test_a_new_head_knows_nothing() -> None:
    """Weights of 2e-5 and no bias (SSL-FL, Sec. 4): every class has the same probability, yet images differ."""
    method = build(vit(width=192, heads=3))
    assert float(method.head.weight.detach().std()) == pytest.approx(2e-5, rel=0.2)
    torch.testing.assert_close(method.predict(images()), torch.full((3, 3), 1 / 3), atol=1e-3, rtol=0)
    assert len(torch.unique(method.logits(images()))) == 9


def test_a_head_may_begin_as_torch_fills_its_layers() -> None:
    method = build(vit(width=192, heads=3), head_init="uniform")
    bound = method.backbone.num_features**-0.5
    assert 0.95 * bound < float(method.head.weight.detach().abs().max()) <= bound
    assert not method.head.get_parameter("bias").any()


def test_how_a_head_usually_begins_stays_out_of_a_specs_text() -> None:
    assert "head_init" not in SupervisedConfig().model_dump()
    assert SupervisedConfig(head_init="uniform").model_dump()["head_init"] == "uniform"


@pytest.mark.parametrize("head_init", ["small", "uniform"])
@pytest.mark.parametrize("task", list(Task))
def test_a_head_that_was_never_trained_is_not_evaluated(task: Task, head_init: str) -> None:
    """SSL-FL, Sec. 9, check 19: users of the published code saw the accuracy of chance."""
    method = build(contract=contract(task), head_init=head_init)
    with pytest.raises(UntrainedError, match="head was never trained"):
        method.check_trained()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-6)
    method.training_step(Batch(images=images(), labels=LABELS[task]), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    method.check_trained()


def test_a_pre_trained_encoder_with_a_new_head_is_not_evaluated() -> None:
    source, method = mae(), build()
    method.inherit(source.state_dict(), source)
    with pytest.raises(UntrainedError, match="head was never trained"):
        evaluate(method, ThreePatients(), COLOUR, device=torch.device("cpu"), bootstrap=0, seed=0)
    evaluate(source, ThreePatients(), COLOUR, device=torch.device("cpu"), bootstrap=0, seed=0)  # it has no head


class ThreePatients:
    """Something to evaluate on."""

    patients = ("a", "b", "c")

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        yield Batch(images=images(), labels=LABELS[Task.CLASSIFICATION])


def test_views_are_drawn_before_images_are_mixed() -> None:
    method = build(view={"crop_scale": (0.6, 1.0), "rotation_deg": 10, "jitter": 0, "grey": 0, "blur": 0}, mixup=0.8)
    batch = method.prepare(Batch(images=images(), labels=LABELS[Task.CLASSIFICATION]), torch.Generator().manual_seed(0))
    assert batch.images.shape == images().shape
    assert batch.labels is not None
    assert batch.labels.shape == (3, 3)
    plain = build(mixup=0.8).prepare(
        Batch(images=images(), labels=LABELS[Task.CLASSIFICATION]), torch.Generator().manual_seed(0)
    )
    assert not torch.equal(batch.images, plain.images)


def test_smoothing_is_for_training_only() -> None:
    method = build(label_smoothing=0.1)
    torch.nn.init.normal_(method.head.weight)
    batch = Batch(images=images(), labels=LABELS[Task.CLASSIFICATION])
    logits = method.logits(batch.images)
    trained = functional.cross_entropy(logits, LABELS[Task.CLASSIFICATION], label_smoothing=0.1)
    torch.testing.assert_close(method.training_step(batch, Clock()).loss, trained)
    plain = functional.cross_entropy(logits, LABELS[Task.CLASSIFICATION], reduction="none")
    torch.testing.assert_close(method.evaluation_loss(batch), plain)


def test_nothing_is_drawn_without_mixing() -> None:
    batch = Batch(images=images(), labels=LABELS[Task.CLASSIFICATION])
    assert build().prepare(batch, torch.Generator()) is batch


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.MULTI_LABEL])
def test_mixed_batches_have_mixed_labels(task: Task) -> None:
    method = build(contract=contract(task), mixup=0.8, cutmix=1.0)
    batch = Batch(images=images(), labels=LABELS[task])
    mixed = method.prepare(batch, torch.Generator().manual_seed(1))
    again = method.prepare(batch, torch.Generator().manual_seed(1))
    assert mixed.labels is not None
    assert again.labels is not None
    assert mixed.labels.shape == (3, 3)
    assert mixed.labels.is_floating_point()
    assert torch.equal(mixed.labels, again.labels)
    assert torch.equal(mixed.images, again.images)
    assert not torch.equal(mixed.images, batch.images)
    method.training_step(mixed, Clock()).loss.backward()  # type: ignore[no-untyped-call]


def test_positions_are_trained() -> None:
    """SSL-FL, Sec. 9, check 8."""
    method = build()
    torch.nn.init.normal_(method.head.weight)
    method.training_step(Batch(images=images(), labels=LABELS[Task.CLASSIFICATION]), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    positions = method.backbone.get_parameter("pos_embed").grad
    assert positions is not None
    assert bool(positions.count_nonzero(dim=2).all())


def test_the_head_and_the_norm_before_it_are_all_that_is_new_after_pre_training() -> None:
    """SSL-FL, Sec. 9, check 9."""
    source, method = mae(), build()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    inheritance = method.inherit(source.state_dict(), source)
    new = {"head.weight", "head.bias", "backbone.fc_norm.weight", "backbone.fc_norm.bias"}
    assert set(inheritance.new) == new
    assert (
        set(inheritance.taken)
        == set(method.state_dict()) - new
        == {name for name in source.state_dict() if name.startswith("backbone.")}
    )
    assert set(inheritance.dropped) == set(source.state_dict()) - set(inheritance.taken)
    state = method.state_dict()
    assert all(torch.equal(state[name], source.state_dict()[name]) for name in inheritance.taken)
    assert all(torch.equal(state[name], before[name]) for name in inheritance.new)


@pytest.mark.parametrize("lost", ["backbone.cls_token", "backbone.pos_embed", "backbone.blocks.1.mlp.fc2.bias"])
def test_any_other_missing_entry_is_an_error(lost: str) -> None:
    source = mae()
    state = {name: tensor for name, tensor in source.state_dict().items() if name != lost}
    with pytest.raises(CheckpointError, match=f"expected '{lost}' .* found nothing"):
        build().inherit(state, source)


def test_a_supervised_checkpoint_without_its_last_norm_is_an_error() -> None:
    """The norm may be new after pre-training only, which has none."""
    source = build()
    state = {name: tensor for name, tensor in source.state_dict().items() if "fc_norm" not in name}
    with pytest.raises(CheckpointError, match=r"expected 'backbone.fc_norm.weight' .* found nothing"):
        build().inherit(state, source)


def test_another_network_is_an_error() -> None:
    source = mae(vit(width=48))
    with pytest.raises(
        CheckpointError, match=r"expected 'backbone.cls_token' of shape \(1, 1, 24\), found \(1, 1, 48\)"
    ):
        build().inherit(source.state_dict(), source)


@pytest.mark.parametrize("backbone", [ViTConfig(width=24, depth=2, heads=3, patch_px=8), SmallCNNConfig()])
def test_a_second_supervised_stage_keeps_the_head(backbone: Any) -> None:
    source, method = (build(backbone.build(image_px=32, channels=3)) for _ in range(2))
    inheritance = method.inherit(source.state_dict(), source)
    assert (inheritance.new, inheritance.dropped) == ((), ())
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in method.state_dict().items())


def test_other_classes_need_a_new_head() -> None:
    source, method = build(contract=contract(num_classes=5)), build()
    inheritance = method.inherit(source.state_dict(), source)
    assert inheritance.new == ("head.weight", "head.bias")
    assert inheritance.dropped == ("head.weight", "head.bias")


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (Task.SEGMENTATION, {"mixup": 0.8}, "leave them out for segmentation"),
        (Task.SEGMENTATION, {"cutmix": 1.0}, "leave them out for segmentation"),
        (Task.SEGMENTATION, {"view": {}}, "moves images and not their masks"),
        (Task.MULTI_LABEL, {"label_smoothing": 0.1}, "no meaning for multi_label"),
        (Task.CLASSIFICATION, {"dice_weight": 1.0}, "dice_weight is of masks"),
        (Task.MULTI_LABEL, {"dice_weight": 1.0}, "dice_weight is of masks"),
    ],
)
def test_settings_without_effect_on_a_task_are_refused(task: Task, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(contract=contract(task), **settings)


@pytest.mark.parametrize("kind", [DataKind.VOLUME, DataKind.CLIP])
def test_views_of_what_is_not_flat_are_refused(kind: DataKind) -> None:
    with pytest.raises(SpecError, match=f"view is of flat images, and dataset.kind is '{kind}'"):
        build(contract=contract().model_copy(update={"kind": kind, "depth": 8}), view={})


def test_images_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="found none in the dataset"):
        build().training_step(Batch(images=images()), Clock())
