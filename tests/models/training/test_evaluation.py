"""Figures against scikit-learn, or against loops where it has none. The method here predicts what the images hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Task
from fedward_core.errors import DataError, DivergedError
from fedward_core.metric import Metric, Metrics
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.inheritance import Inheritance
from fedward_models.method import Method
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.step import Clock, StepOutput
from fedward_models.training.bootstrap import measure
from fedward_models.training.evaluation import BATCH_SIZE, evaluate
from fedward_models.training.figures import figures_of

CPU = torch.device("cpu")


class Oracle(Method):
    """Predicts the images themselves: (B, K, 1, 1) probabilities of classes, or (B, K, H, W) of pixels."""

    def __init__(self, *, maps: bool = False) -> None:
        super().__init__()
        self.maps, self.norm = maps, nn.BatchNorm1d(1)

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:
        raise NotImplementedError

    def evaluation_loss(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def predict(self, images: Tensor) -> Tensor:
        return images if self.maps else images[:, :, 0, 0]

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Known:
    """Predictions and labels that a test knows, each image of a patient of its own."""

    images: Tensor
    labels: Tensor | None

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(str(index) for index in range(len(self.images)))

    def in_order(self, batch_size: int) -> Any:
        for start in range(0, len(self.images), batch_size):
            chosen = slice(start, start + batch_size)
            labels = None if self.labels is None else self.labels[chosen]
            yield Batch(images=self.images[chosen], labels=labels)


@dataclass(frozen=True, kw_only=True)
class Owned(Known):
    """The same, of patients with several images."""

    owners: tuple[str, ...]

    @property
    def patients(self) -> tuple[str, ...]:
        return self.owners


def classified(size: int, num_classes: int, *, labels: Tensor | None = None) -> Known:
    rng = torch.Generator().manual_seed(size)
    logits = torch.randn(size, num_classes, generator=rng)
    truth = torch.randint(num_classes, (size,), generator=rng) if labels is None else labels
    return Known(images=logits.softmax(1)[:, :, None, None], labels=truth)


def assess(known: Known, *, task: Task = Task.CLASSIFICATION, bootstrap: int = 0, num_classes: int = 0) -> Metrics:
    count = num_classes or known.images.shape[1]
    contract = Contract(task=task, classes=tuple("abcdefgh"[:count]))
    method = Oracle(maps=task is Task.SEGMENTATION)
    return evaluate(method, known, contract, device=CPU, bootstrap=bootstrap, seed=1)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_classification_is_scored_as_by_scikit_learn(num_classes: int) -> None:
    known = classified(BATCH_SIZE + 9, num_classes)
    assert known.labels is not None
    probabilities, truth = known.images[:, :, 0, 0].double().numpy(), known.labels.numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(1)
    recalls = metrics.recall_score(truth, predicted, average=None)
    expected = {
        "loss": metrics.log_loss(truth, probabilities),
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "auroc": np.mean([metrics.roc_auc_score(truth == k, probabilities[:, k]) for k in range(num_classes)]),
        **{f"recall/{'abcde'[k]}": recalls[k] for k in range(num_classes)},
        **{f"predicted/{'abcde'[k]}": (predicted == k).mean() for k in range(num_classes)},
    }
    figures = assess(known)
    assert list(figures) == list(expected)
    assert {name: metric.value for name, metric in figures.items()} == pytest.approx(expected, rel=1e-5)
    assert figures["recall/b"].n == (truth == 1).sum()
    assert figures["auroc"].n == len(truth)


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.MULTI_LABEL, Task.SEGMENTATION])
def test_predictions_that_are_not_finite_are_no_class(task: Task) -> None:
    """Taken as numbers they would name the first class, and be right as often as it is."""
    shape = (6, 2, 4, 4) if task is Task.SEGMENTATION else (6, 2, 1, 1)
    images = torch.full(shape, 0.5)
    images[4, 1, 0, 0] = torch.nan
    labels = {
        Task.CLASSIFICATION: torch.arange(6) % 2,
        Task.MULTI_LABEL: torch.eye(2, dtype=torch.long).repeat(3, 1),
        Task.SEGMENTATION: torch.zeros(6, 4, 4, dtype=torch.long),
    }
    with pytest.raises(DivergedError, match="predictions that are not finite"):
        assess(Known(images=images, labels=labels[task]), task=task)


def test_classes_that_a_site_lacks_are_left_out_of_averages() -> None:
    known = classified(40, 3, labels=torch.tensor([0, 2]).repeat(20))
    figures = assess(known)
    probabilities, truth = known.images[:, :, 0, 0].numpy(), np.array([0, 2] * 20)
    areas = [metrics.roc_auc_score(truth == k, probabilities[:, k]) for k in (0, 2)]
    recalls = [figures["recall/a"].value, figures["recall/c"].value]
    assert figures["auroc"].value == pytest.approx(np.mean(areas))
    assert figures["balanced_accuracy"].value == pytest.approx(np.mean(recalls))  # type: ignore[arg-type]
    assert figures["recall/b"] == Metric(value=None, n=0)


def test_a_site_with_one_class_has_recall_but_nothing_that_compares_classes() -> None:
    figures = assess(classified(12, 3, labels=torch.ones(12, dtype=torch.long)), bootstrap=20)
    assert figures["recall/b"].value == figures["accuracy"].value
    assert figures["balanced_accuracy"] == Metric(value=None, n=12)
    assert figures["auroc"] == Metric(value=None, n=12)
    assert "largest_class_share" not in figures


def test_one_image_is_enough() -> None:
    figures = assess(classified(1, 2), bootstrap=20)
    assert figures["accuracy"].n == 1
    assert figures["accuracy"].low is None


def test_intervals_hold_their_figures() -> None:
    for metric in assess(classified(100, 3), bootstrap=200).values():
        assert metric.low <= metric.value <= metric.high  # type: ignore[operator]


def test_intervals_are_over_patients_however_many_images_each_has() -> None:
    once = classified(30, 2)
    assert once.labels is not None
    images, labels = once.images.repeat_interleave(4, 0), once.labels.repeat_interleave(4)
    often = Owned(images=images, labels=labels, owners=tuple(str(index // 4) for index in range(120)))
    few, many = assess(once, bootstrap=100), assess(often, bootstrap=100)
    for name, metric in few.items():
        assert (many[name].low, many[name].high) == pytest.approx((metric.low, metric.high))
    assert (few["accuracy"].n, many["accuracy"].n) == (30, 120)


def test_predictions_of_a_single_class_are_a_warning() -> None:
    images = torch.tensor([0.9, 0.1]).repeat(40, 1)[:, :, None, None]
    images[0] = images[0].flip(0)
    figures = assess(Known(images=images, labels=torch.arange(40) % 2))
    assert figures["largest_class_share"] == Metric(value=39 / 40, n=40)
    images[1:3] = images[1:3].flip(1)
    assert "largest_class_share" not in assess(Known(images=images, labels=torch.arange(40) % 2))


def test_findings_are_scored_as_by_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(5)
    probabilities, labels = torch.rand(30, 4, generator=rng), (torch.rand(30, 4, generator=rng) < 0.4).float()
    labels[:, 2] = 0  # a finding that nobody has
    figures = assess(Known(images=probabilities[:, :, None, None], labels=labels), task=Task.MULTI_LABEL)
    truth, scores = labels.numpy(), probabilities.numpy()
    areas = {k: metrics.roc_auc_score(truth[:, k], scores[:, k]) for k in (0, 1, 3)}
    assert figures["auroc"].value == pytest.approx(np.mean(list(areas.values())))
    assert figures["auroc/b"].value == pytest.approx(areas[1])
    assert figures["auroc/c"] == Metric(value=None, n=30)
    assert figures["accuracy"].value == pytest.approx(((scores > 0.5) == (truth > 0)).mean())
    losses = nn.functional.binary_cross_entropy(probabilities, labels)
    assert figures["loss"].value == pytest.approx(losses.item(), rel=1e-5)


@pytest.mark.parametrize("grid", [(7, 5), (4, 7, 5)], ids=["images", "volumes"])
def test_segmentation_is_scored_image_by_image(grid: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(6)
    probabilities = torch.randn(5, 3, *grid, generator=rng).softmax(1)
    labels = torch.randint(2, (5, *grid), generator=rng)
    labels[0] = 0
    probabilities[0].movedim(0, -1)[:] = torch.tensor([0.8, 0.1, 0.1])  # in the first image only the background is
    figures = assess(Known(images=probabilities, labels=labels), task=Task.SEGMENTATION)
    dice = [dice_by_hand(probabilities.argmax(1), labels, number) for number in range(3)]
    assert [figures[f"dice/{c}"].value for c in "abc"] == pytest.approx([np.mean(scores) for scores in dice])
    assert [figures[f"dice/{c}"].n for c in "abc"] == [5, 4, 4]
    assert figures["dice"].value == pytest.approx(np.mean([np.mean(dice[1]), np.mean(dice[2])]))
    assert figures["loss"].value == pytest.approx(nn.functional.nll_loss(probabilities.log(), labels).item(), rel=1e-5)


def dice_by_hand(predicted: Tensor, labels: Tensor, number: int) -> list[float]:
    """Pixel by pixel; images in which neither has the class are left out."""
    scores = []
    for ours, theirs in zip(predicted.flatten(1).tolist(), labels.flatten(1).tolist(), strict=True):
        both = sum(p == number and q == number for p, q in zip(ours, theirs, strict=True))
        sizes = ours.count(number) + theirs.count(number)
        if sizes:
            scores.append(2 * both / sizes)
    return scores


def test_a_method_without_classes_has_its_loss_alone() -> None:
    backbone = ViTConfig(width=8, depth=1, heads=2, patch_px=4).build(image_px=8, channels=1)
    config = MAEConfig(decoder_width=8, decoder_depth=1, decoder_heads=2)
    method = config.build(backbone=backbone, contract=Contract(classes=("a", "b")))
    known = Known(images=torch.randn(6, 1, 8, 8), labels=torch.zeros(6, dtype=torch.long))
    first, again = (
        evaluate(method, known, Contract(classes=("a", "b")), device=CPU, bootstrap=20, seed=1) for _ in range(2)
    )
    assert list(first) == ["loss"]
    assert first == again
    assert first["loss"].n == 6


def test_classes_without_labels_are_an_error() -> None:
    with pytest.raises(DataError, match="no labels"):
        assess(Known(images=classified(4, 2).images, labels=None))


def test_evaluation_leaves_no_trace_in_the_method() -> None:
    method, modes = Oracle().train(), []
    method.norm.eval()
    predict = method.predict

    def watched(images: Tensor) -> Tensor:
        modes.append((method.training, torch.is_grad_enabled()))
        return predict(images)

    method.predict = watched  # type: ignore[method-assign]
    contract = Contract(classes=("a", "b"))
    evaluate(method, classified(3, 2), contract, device=CPU, bootstrap=0, seed=0)
    assert modes == [(False, False)]
    assert (method.training, method.norm.training) == (True, False)


class Measuring(Oracle):
    """Also measures of each image whether its label is even."""

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        assert batch.labels is not None
        return {"even": (batch.labels % 2 == 0).float()}


def test_what_a_method_measures_itself_is_reported_with_its_n_and_interval() -> None:
    known = classified(300, 2, labels=(torch.arange(300) % 3 == 0).long())
    metrics = evaluate(Measuring(), known, Contract(classes=("a", "b")), device=CPU, bootstrap=200, seed=1)
    even = metrics["even"]
    assert even.value == pytest.approx(2 / 3)
    assert even.n == 300
    assert even.low is not None
    assert even.high is not None
    assert even.low < 2 / 3 < even.high


def test_what_is_kept_of_every_image_gives_the_same_figures_and_patients_as_numbers() -> None:
    known, contract = classified(40, 3), Contract(classes=("a", "b", "c"))
    kept: dict[str, Array] = {}
    metrics = evaluate(Oracle(), known, contract, device=CPU, bootstrap=0, seed=1, keep=kept.update)
    whole = np.ones((1, 40))
    figures = figures_of({name: kept[name] for name in ("loss", "probabilities", "labels")}, contract)
    assert measure(figures["auroc"], np.empty((0, 40))).value == metrics["auroc"].value
    assert figures["accuracy"].statistic(whole)[0] == metrics["accuracy"].value
    assert kept["patients"].dtype.kind == "i"
    assert len(set(kept["patients"].tolist())) == 40
