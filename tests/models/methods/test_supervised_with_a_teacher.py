"""Learning from a frozen teacher beside the labels: at one site, federated and personalised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.cards import Contract, Task
from fedward_core.engine import Job
from fedward_core.errors import CheckpointError, SpecError
from fedward_core.spec import Spec
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.data import generate
from fedward_models.frozen import file_digest
from fedward_models.losses.teacher_distillation import hard_distillation, soft_distillation
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock
from fedward_models.towers.features import NOT_POOLED_NOTE
from fedward_models.towers.standards import standard_note
from fedward_models.weights import arrays_of
from fedward_server.engines.inline import InlineEngine

CONTRACT = Contract(classes=("normal", "pneumonia", "covid"), channels=1)
TEACHER_FORM = {"name": "small_cnn", "widths": [6], "hidden": [10], "norm": "batch"}
STUDENT_FORM = {"name": "small_cnn", "widths": [4], "hidden": [8]}


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder := tmp_path / "weights").mkdir()
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(folder))
    return folder


def build(form: dict[str, Any], contract: Contract = CONTRACT, **settings: Any) -> Supervised:
    with seeded(1):
        backbone = SmallCNNConfig.model_validate(form).build(image_px=16, channels=1)
        method = SupervisedConfig(**settings).build(backbone=backbone, contract=contract)
    assert isinstance(method, Supervised)
    return method


def trained_teacher() -> Supervised:
    teacher = build(TEACHER_FORM)
    with seeded(2):
        for parameter in teacher.parameters():
            nn.init.normal_(parameter, std=0.5)
    return teacher.eval()


def saved(
    folder: Path,
    teacher: Supervised,
    classes: tuple[str, ...] | None = CONTRACT.classes,
    *,
    notes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The setting that names a teacher which lies in the folder, as the coordinator writes the end of a stage."""
    facts = {} if classes is None else {"plan": {"contract": {"classes": classes}, "notes": notes}}
    write_arrays(folder / "teacher.safetensors", arrays_of(teacher), facts)
    digest = file_digest(folder / "teacher.safetensors")
    return {"weights": {"name": "teacher", "sha256": digest}, "backbone": TEACHER_FORM}


def batch() -> Batch:
    images = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    return Batch(images=images, labels=torch.tensor([0, 1, 2, 1]))


Distance = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize(
    ("settings", "distance"),
    [
        ({}, soft_distillation),
        ({"temperature": 3.0, "weight": 0.2}, lambda ours, theirs: soft_distillation(ours, theirs, temperature=3.0)),
        ({"form": "hard", "weight": 1.0}, hard_distillation),
    ],
)
def test_the_loss_is_the_weighted_mean_of_labels_and_teacher(
    settings: dict[str, Any], distance: Distance, weights_folder: Path
) -> None:
    teacher = trained_teacher()
    student = build(STUDENT_FORM, label_smoothing=0.1, teacher={**saved(weights_folder, teacher), **settings})
    alone = build(STUDENT_FORM, label_smoothing=0.1)
    weight = settings.get("weight", 0.5)
    labels = alone.training_step(batch(), Clock()).loss
    taught = distance(student.logits(batch().images), teacher.logits(batch().images).detach()).mean()
    found = student.training_step(batch(), Clock())
    torch.testing.assert_close(found.loss, (1 - weight) * labels + weight * taught)
    torch.testing.assert_close(found.figures["label_loss"], labels.detach())
    torch.testing.assert_close(found.figures["teacher_loss"], taught.detach())
    torch.testing.assert_close(student.evaluation_loss(batch()), alone.evaluation_loss(batch()))


def test_the_teacher_is_no_part_of_the_state_and_the_student_begins_as_without_it(weights_folder: Path) -> None:
    student, alone = build(STUDENT_FORM, teacher=saved(weights_folder, trained_teacher())), build(STUDENT_FORM)
    assert student.state_dict().keys() == alone.state_dict().keys()
    for name, tensor in alone.state_dict().items():
        assert torch.equal(student.state_dict()[name], tensor)
    assert dict(student.named_parameters()).keys() == dict(alone.named_parameters()).keys()


def test_the_teacher_stands_still_while_the_student_trains(weights_folder: Path) -> None:
    teacher = trained_teacher()
    student = build(STUDENT_FORM, teacher=saved(weights_folder, teacher)).train()
    before = teacher.logits(batch().images).detach()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        student.training_step(batch(), Clock()).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert student.teacher is not None
    assert torch.equal(student.teacher(batch().images), before)


def test_a_plan_says_which_teacher_it_was(weights_folder: Path) -> None:
    settings = saved(weights_folder, trained_teacher())
    (note,) = build(STUDENT_FORM, teacher=settings).notes
    assert settings["weights"]["sha256"] in note
    assert build(STUDENT_FORM).notes == ()


def test_a_teacher_of_other_classes_is_refused(weights_folder: Path) -> None:
    settings = saved(weights_folder, trained_teacher(), classes=("covid", "pneumonia", "normal"))
    with pytest.raises(CheckpointError, match="same classes in the same order"):
        build(STUDENT_FORM, teacher=settings)
    build(STUDENT_FORM, teacher=saved(weights_folder, trained_teacher(), classes=None))


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (NOT_POOLED_NOTE, "'teacher' was trained on the class token"),
        (standard_note("imagenet"), "'teacher' was trained on pixels of the standard 'imagenet'"),
    ],
)
def test_a_teacher_that_was_trained_on_something_else_is_refused(note: str, message: str, weights_folder: Path) -> None:
    """A probe's head fits by its shapes, whatever it was trained on."""
    with pytest.raises(CheckpointError, match=message):
        build(STUDENT_FORM, teacher=saved(weights_folder, trained_teacher(), notes=(note,)))


def test_a_teacher_of_another_form_is_refused(weights_folder: Path) -> None:
    settings = {**saved(weights_folder, trained_teacher()), "backbone": STUDENT_FORM}
    with pytest.raises(CheckpointError, match=r"do not fit the teacher.*Give teacher\.backbone the settings"):
        build(STUDENT_FORM, teacher=settings)


@pytest.mark.parametrize("task", [Task.MULTI_LABEL, Task.SEGMENTATION])
def test_other_tasks_have_no_teacher(task: Task, weights_folder: Path) -> None:
    settings = saved(weights_folder, trained_teacher())
    with pytest.raises(SpecError, match="leave it out"):
        build(STUDENT_FORM, CONTRACT.model_copy(update={"task": task}), teacher=settings)


def test_a_temperature_without_effect_is_refused(weights_folder: Path) -> None:
    settings = {**saved(weights_folder, trained_teacher()), "form": "hard", "temperature": 2.0}
    with pytest.raises(ValueError, match="temperature has no effect"):
        build(STUDENT_FORM, teacher=settings)


def test_specs_without_a_teacher_keep_their_digest() -> None:
    assert "teacher" not in SupervisedConfig().model_dump_json()


@pytest.mark.parametrize("mode", ["local", "federated", "personalised"])
def test_a_student_is_taught_in_every_mode_and_the_teacher_never_travels(
    mode: str, weights_folder: Path, tmp_path: Path
) -> None:
    generate(tmp_path / "data", sites=2, images_per_site=20, image_px=16)
    names = tuple(sorted(path.stem for path in (tmp_path / "data").glob("*.npz")))
    sites = names[:1] if mode == "local" else names
    settings = saved(weights_folder, trained_teacher(), classes=None)
    stage = {
        "name": "taught",
        "method": {"name": "supervised", "teacher": settings},
        "backbone": STUDENT_FORM,
        "rounds": 2,
        "local": {"batch_size": 8, "optimizer": {"name": "sgd", "lr": 0.05}},
        "personalise": {"name": "channel_decoupling"} if mode == "personalised" else None,
    }
    dataset = {"name": "simulated", "image_px": 16}
    spec = Spec.parse({"name": "taught", "dataset": dataset, "cohort": {"min_sites": 1}, "stages": [stage]})
    told: list[Any] = []
    job = Job(spec=spec, run="taught", sites=sites, data=tmp_path / "data", out=tmp_path / "run")
    InlineEngine().run(job, told.append)
    arrays, facts = read_arrays(tmp_path / "run" / "stages" / "taught" / "final.safetensors")
    assert arrays.keys() - {"local_epochs"} == build(STUDENT_FORM).state_dict().keys()  # one is the personalisation's
    assert settings["weights"]["sha256"] in " ".join(facts["plan"]["notes"])
    trained = [event.facts for event in told if "teacher_loss" in str(event.facts)]
    assert trained
