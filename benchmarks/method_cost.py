"""What does a step of each method cost beside one of its network alone?"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import Spread, print_table
from fedward_core.cards import Contract, DataKind, Split
from fedward_core.spec import Dataset, Spec
from fedward_models.batch import Batch
from fedward_models.building import build_method
from fedward_models.data import Loader, generate, open_split
from fedward_models.data.image_set import ImageSet
from fedward_models.method import Method
from fedward_models.step import Clock

REPEATS, BATCH = 7, 32
VIT = {"name": "vit", "width": 96, "depth": 4, "heads": 4, "patch_px": 8}
TEACHER = {"width": 192, "depth": 8}
DATASET = Dataset(name="films", kind=DataKind.REPORT, image_px=64)
DECODER = {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 4}
# The network of every method is a vision transformer of one size; dmae's teacher is twice as wide and as deep.
METHODS: dict[str, dict[str, Any]] = {
    "supervised": {"name": "supervised"},
    "probe": {"name": "probe", "weights": "as_built"},
    "evp": {"name": "evp", "weights": "as_built"},
    "mae": {"name": "mae", "mask_ratio": 0.75, **DECODER},
    "beit": {"name": "beit", "tokenizer": "patch_codebook"},
    "dmae": {"name": "dmae", "teacher": {**TEACHER, "heads": 4}, **DECODER},
    "sdmp": {"name": "sdmp"},
    "sdmp on DINO": {"name": "sdmp", "base": {"name": "dino"}},
    "fedbyol": {"name": "fedbyol"},
    "mgca": {"name": "mgca", "text": {"width": 96, "depth": 4, "heads": 4}},
    "fgsm_at": {"name": "fgsm_at"},
    "fgsm_at, PGD of 10 steps": {"name": "fgsm_at", "attack": "pgd"},
    "fgsm_at, GradAlign": {"name": "fgsm_at", "grad_align": 0.2},
}


def main() -> None:
    """Measure every method in turn with its network, and print one table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        images = _images(Path(name))
    rows = [_row(title, settings, images) for title, settings in METHODS.items()]
    print_table(
        "What a step costs",
        ("method", "draws, ms", "a step, ms", "its network alone, ms", "ratio"),
        rows,
        f"Forward and backward of {BATCH} images of 64 pixels on a vision transformer of width 96 and depth 4, one "
        f"thread; a step counts what it draws, and the network alone names the images' classes. {REPEATS} repeats in "
        "turns, seed 0.",
    )


def _images(folder: Path) -> ImageSet:
    """Simulated films with reports, which every method can read."""
    generate(folder, sites=1, images_per_site=2 * BATCH, image_px=DATASET.image_px, kind=DATASET.kind)
    return open_split(folder, "north", DATASET, Split.TRAIN)


def _row(title: str, settings: dict[str, Any], images: ImageSet) -> tuple[object, ...]:
    network = {**VIT, "name": "beit_vit"} if settings["name"] == "beit" else VIT
    method, plain = (_built(each, network, images.contract) for each in (settings, METHODS["supervised"]))
    batch = next(iter(Loader(images, batch_size=BATCH, augment=False).epoch(0)))
    drawing, step, alone = list[float](), list[float](), list[float]()
    for repeat in range(REPEATS + 1):
        drawn, prepared = _timed(lambda: method.prepare(batch, torch.Generator().manual_seed(0)))
        figures = (drawn, drawn + _step_ms(method, prepared), _step_ms(plain, batch))
        if repeat:  # the first one warms up
            for found, figure in zip((drawing, step, alone), figures, strict=True):
                found.append(figure)
    drawn_ms, step_ms, alone_ms = (Spread(tuple(found)) for found in (drawing, step, alone))
    return title, drawn_ms, step_ms, alone_ms, step_ms.over(alone_ms)


def _built(settings: dict[str, Any], network: dict[str, Any], contract: Contract) -> Method:
    """The method of a run's last stage; weights that a teacher would have cost nothing."""
    stages = [{"name": "last", "method": settings, "backbone": network, "rounds": 1}]
    if settings["name"] == "dmae":
        teacher = {"name": "teacher", "method": METHODS["mae"], "backbone": {**VIT, **TEACHER}, "rounds": 1}
        stages = [teacher, {**stages[0], "start_from": "previous"}]
    spec = Spec.parse({"name": "cost", "dataset": DATASET.model_dump(), "stages": stages})
    return build_method(spec, len(stages) - 1, contract).train()


def _step_ms(method: Method, batch: Batch) -> float:
    def step() -> None:
        method.training_step(batch, Clock()).loss.backward()  # type: ignore[no-untyped-call]

    return _timed(step)[0]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return 1000 * (time.perf_counter() - started), found


if __name__ == "__main__":
    main()
