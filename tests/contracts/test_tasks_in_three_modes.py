"""Masks, of images and of volumes, and several findings train at one site, federated and personalised, by one spec."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedward_core.cards import DataKind
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec
from fedward_models.data import generate
from fedward_server.engines.inline import InlineEngine

EXAMPLES = Path(__file__).parents[2] / "examples" / "zoo"
SITES = ("hill", "north", "river")
# The figure of a task, and those of its classes.
FIGURES = {
    "segmentation": ("dice", ["dice/background", "dice/lung", "dice/opacity"]),
    "volume_segmentation": ("dice", ["dice/background", "dice/brain", "dice/ventricles", "dice/lesion"]),
    "multi_label": ("auroc", ["auroc/opacity", "auroc/effusion", "auroc/nodule"]),
}
MODES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "local": (SITES[:1], None),
    "federated": (SITES, None),
    "personalised": (SITES, "fedbn"),
}


KINDS = {"volume_segmentation": DataKind.VOLUME}
UNET = {"name": "monai_volume", "network": "UNet", "features": 4}
TINY = {"channels": [4, 8], "strides": [2], "num_res_units": 1, "norm": "batch"}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Three simulated hospitals with few and small films, or heads."""
    folders: dict[DataKind, Path] = {}

    def of_task(task: str) -> Path:
        kind = KINDS.get(task, DataKind.IMAGE)
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp("hospitals")
            generate(folders[kind], sites=3, images_per_site=30, image_px=16, kind=kind)
        return folders[kind]

    return of_task


def spec_of(task: str, personalise: str | None, sites: int) -> Spec:
    volumes = KINDS.get(task) is DataKind.VOLUME
    stage: dict[str, Any] = {
        "name": "train",
        "method": "supervised",
        "backbone": {**UNET, "arguments": TINY} if volumes else {"name": "small_cnn", "widths": [8], "hidden": []},
        "rounds": 3,
        "local": {"batch_size": 8, "optimizer": {"name": "adamw", "lr": 0.01}},
        "personalise": personalise,
    }
    dataset = {"name": "simulated", "image_px": 16, "task": task.removeprefix("volume_")}
    if volumes:
        dataset |= {"kind": "volume", "depth": 16}
    evaluate = {"bootstrap": 20}
    cohort = {"min_sites": sites}
    return Spec.parse({"name": "s", "dataset": dataset, "cohort": cohort, "evaluate": evaluate, "stages": [stage]})


def run(spec: Spec, sites: tuple[str, ...], data: Path, out: Path) -> list[Event]:
    events: list[Event] = []
    InlineEngine().run(Job(spec=spec, run="r", sites=sites, data=data, out=out), events.append)
    return events


def of_kind(events: list[Event], kind: EventKind) -> list[Event]:
    return [event for event in events if event.kind is kind]


def sent(events: list[Event]) -> int:
    return sum(event.facts["bytes_received"] for event in of_kind(events, EventKind.ROUND_FINISHED))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", FIGURES)
def test_it_learns_and_every_site_is_told_the_figures_of_the_task(
    task: str, mode: str, hospitals: Callable[[str], Path], tmp_path: Path
) -> None:
    sites, personalise = MODES[mode]
    events = run(spec_of(task, personalise, len(sites)), sites, hospitals(task), tmp_path / "run")
    rounds = of_kind(events, EventKind.ROUND_FINISHED)
    assert rounds[-1].facts["loss"] < rounds[0].facts["loss"]
    evaluated = {event.site: event.facts["metrics"] for event in of_kind(events, EventKind.EVALUATED)}
    assert set(evaluated) == set(sites)
    main, of_classes = FIGURES[task]
    for metrics in evaluated.values():
        assert metrics.keys() >= {main, *of_classes, "loss"}
        assert metrics[main]["n"] > 0


@pytest.mark.parametrize("task", FIGURES)
def test_what_is_personalised_travels_less(task: str, hospitals: Callable[[str], Path], tmp_path: Path) -> None:
    whole = run(spec_of(task, None, 3), SITES, hospitals(task), tmp_path / "federated")
    partly = run(spec_of(task, "fedbn", 3), SITES, hospitals(task), tmp_path / "personalised")
    assert 0 < sent(partly) < sent(whole)


@pytest.mark.parametrize("task", FIGURES)
def test_its_example_names_the_task_and_ends_personalised(task: str) -> None:
    spec = Spec.read(EXAMPLES / f"{task}.yaml")
    assert spec.dataset.task == task.removeprefix("volume_")
    assert spec.dataset.kind == KINDS.get(task, DataKind.IMAGE)
    assert [stage.personalise is None for stage in spec.stages] == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("task", FIGURES)
def test_its_example_runs_on_simulated_hospitals(task: str, tmp_path: Path) -> None:
    values = Spec.read(EXAMPLES / f"{task}.yaml").model_dump(mode="json")
    for stage in values["stages"]:
        stage["rounds"] = 2
    spec = Spec.parse(values)
    px, kind, depth = spec.dataset.image_px, spec.dataset.kind, spec.dataset.depth
    generate(tmp_path / "data", sites=3, images_per_site=40, image_px=px, kind=kind, depth=depth)
    events = run(spec, SITES, tmp_path / "data", tmp_path / "run")
    last = of_kind(events, EventKind.EVALUATED)[-1]
    assert last.facts["metrics"].keys() >= {FIGURES[task][0]}
