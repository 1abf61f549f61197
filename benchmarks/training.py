"""What does a simulated federation cost over a bare loop of torch that does the same steps on one core?"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.noise import write_noise
from benchmarks.processes import PYTHON, figure_of_process
from benchmarks.report import in_turns, print_table
from fedward_core import registry
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

REPEATS = 3
SITES, IMAGES, TEST_IMAGES, IMAGE_PX, CLASSES = 10, 250, 10, 32, 10
ROUNDS, BATCH, LR, MOMENTUM = 10, 10, 0.01, 0.5
WIDTHS, HIDDEN = (32, 64), 72
BARE, WORKERS = "bare", ("1", "2")


def main() -> None:
    """Measure the bare loop and every number of workers in turns, and print the table."""
    program = (PYTHON, "-m", "benchmarks.training")
    seen = in_turns({case: partial(figure_of_process, *program, case) for case in (BARE, *WORKERS)}, REPEATS)
    rows = [("`inline`", workers, *seen[workers].beside(seen[BARE])) for workers in WORKERS]
    parameters = sum(parameter.numel() for parameter in bare_model().parameters())
    note = (
        f"A small CNN ({parameters:,} parameters), {SITES} sites with {IMAGES} images, {ROUNDS} rounds of one epoch, "
        f"batches of {BATCH}, one thread a site; seed 0, {REPEATS} repeats in fresh processes, in turns. "
        "Imports and evaluation are not counted, checkpoints are."
    )
    print_table(
        "Training over a bare loop on one core", ("engine", "workers", "s", "bare loop, s", "ratio"), rows, note
    )


def federated_seconds(workers: int) -> float:
    """From the start of the first round to the end of the last."""
    times: list[float] = []

    def listen(event: Event) -> None:
        if event.kind in {EventKind.ROUND_STARTED, EventKind.ROUND_FINISHED}:
            times.append(event.time_s)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = (IMAGE_PX, IMAGE_PX, 3)
        sites = write_noise(folder, sites=SITES, images=(IMAGES, TEST_IMAGES), shape=shape, classes=CLASSES)
        job = Job(spec=spec(), run="cnn", sites=sites, data=folder, out=folder / "out", workers=workers)
        registry.resolve("engines", "inline")().run(job, listen)
    return times[-1] - times[0]


def spec() -> Spec:
    """The run; nothing is kept at a site between rounds, as in the bare loop."""
    optimizer = {"name": "sgd", "lr": LR, "momentum": MOMENTUM}
    local = {"batch_size": BATCH, "optimizer": optimizer, "optimizer_state": "reset", "device": "cpu"}
    backbone = {"name": "small_cnn", "widths": WIDTHS, "hidden": [HIDDEN], "norm": "none"}
    stage = {"name": "train", "method": "supervised", "backbone": backbone, "rounds": ROUNDS, "local": local}
    return Spec.parse(
        {
            "name": "cnn",
            "dataset": {"name": "noise", "image_px": IMAGE_PX},
            "cohort": {"min_sites": SITES},
            "stages": [stage],
            "evaluate": {"every": 1000, "bootstrap": 0},
        }
    )


def bare_seconds() -> float:
    """Federated averaging in a few plain lines of torch."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = bare_model()
    images = torch.randint(0, 256, (SITES, IMAGES, 3, IMAGE_PX, IMAGE_PX), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (SITES, IMAGES))
    start = time.perf_counter()
    shared = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in range(ROUNDS):
        total = {name: torch.zeros_like(tensor) for name, tensor in shared.items()}
        for site in range(SITES):
            model.load_state_dict(shared)
            train_bare(model, images[site], labels[site])
            for name, tensor in model.state_dict().items():
                total[name] += tensor / SITES
        shared = total
    return time.perf_counter() - start


def bare_model() -> nn.Module:
    """The network of the spec, written out."""
    first, second = WIDTHS
    return nn.Sequential(
        *(nn.Conv2d(3, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(second * (IMAGE_PX // 4) ** 2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)),
    )


def train_bare(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """One epoch at one site: (N, 3, H, W) uint8 images and (N,) class numbers."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    for chosen in torch.randperm(IMAGES).view(-1, BATCH):
        batch = (images[chosen].float() / 255 - 0.5) / 0.3
        loss = nn.functional.cross_entropy(model(batch), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(bare_seconds() if sys.argv[1] == BARE else federated_seconds(int(sys.argv[1])))
