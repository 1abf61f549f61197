"""How many images a second does Fed-MAE's published network take on a GPU, and in how much memory?

    python -m benchmarks.pretraining_on_gpu
    python -m benchmarks.pretraining_on_gpu --repeats 1 --images 512

ViT-B/16 at 224 pixels with SSL-FL's decoder, on noise that is in memory. A bare loop of torch makes the same steps, in
full precision, with 16-bit autocast, and with the step compiled as well, which Fedward does not do: that row says what
it would bring. ``federation`` is four sites in turns on one GPU by ``fedward simulate``'s engine, with reading, weights
on their way, moments kept at the sites and checkpoints.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.noise import write_noise
from benchmarks.report import Spread, machine, print_table
from fedward_core import registry
from fedward_core.cards import Contract
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Local, Spec
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.method import Method
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.step import Clock
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase

GPU = torch.device("cuda")
WARM_UP, STEPS, BATCH, IMAGE_PX = 5, 20, 128, 224
SITES, ROUNDS = 4, 3
VIT_B = {"width": 768, "depth": 12, "heads": 12, "patch_px": 16}
DECODER = {"decoder_width": 512, "decoder_depth": 8, "decoder_heads": 16}
OPTIMIZER = {"name": "adamw", "lr": 1.5e-4, "weight_decay": 0.05, "betas": (0.9, 0.95)}
Measured = tuple[float, float]  # images a second, and peak megabytes on the GPU


def main() -> None:
    """Measure every way of training in turns, and print the table."""
    if not torch.cuda.is_available():
        sys.exit("this benchmark measures a GPU, and torch finds none here")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=2048, help="of each site of the federation")
    arguments = parser.parse_args()
    print(f"{machine()}\n- {torch.cuda.get_device_name()}\n", flush=True)
    ways: dict[str, Callable[[], Measured]] = {
        "bare, full": lambda: bare(half=False, compiled=False),
        "bare, mixed": lambda: bare(half=True, compiled=False),
        "bare, mixed, compiled": lambda: bare(half=True, compiled=True),
        "`fit`, full": lambda: fitted("full"),
        "`fit`, mixed": lambda: fitted("mixed"),
    }
    seen: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(arguments.repeats):
        for way, measure in ways.items():
            seen[way].append(measure())
    speeds = {way: Spread(tuple(speed for speed, _ in figures)) for way, figures in seen.items()}
    rows = [
        (way, speeds[way], speeds[way].over(speeds["bare, full"]), f"{max(peak for _, peak in seen[way]):,.0f}")
        for way in ways
    ]
    note = (
        f"Batches of {BATCH} images, {STEPS} steps after {WARM_UP} to warm up, {arguments.repeats} repeats in turns, "
        "seed 0. The ratio is over the bare loop in full precision; the aim is 1.5."
    )
    print_table("Fed-MAE, ViT-B/16", ("step", "images/s", "ratio", "peak of the GPU, MB"), rows, note)
    federated = Spread(tuple(federation(arguments.images)))
    share = Spread(tuple(value / speeds["`fit`, mixed"].median for value in federated.values))
    note = f"{SITES} sites in turns with {arguments.images} images each, one epoch a round, warm rounds of {ROUNDS}."
    print_table("The same over a federation", ("images/s", "over `fit`, mixed"), [(federated, share)], note)


def bare(*, half: bool, compiled: bool) -> Measured:
    """The steps in a plain loop."""
    method, images = built().to(GPU), noise()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1.5e-4, weight_decay=0.05, betas=(0.9, 0.95))
    loss_of = torch.compile(_loss) if compiled else _loss
    draws = torch.Generator().manual_seed(0)

    def step() -> None:
        batch = method.prepare(Batch(images=images), draws).to(GPU)
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            loss = loss_of(method, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()

    def train(steps: int) -> None:
        for _ in range(steps):
            step()

    train(WARM_UP)
    return _measured(lambda: train(STEPS))


def _loss(method: Method, batch: Batch) -> torch.Tensor:
    return method.training_step(batch, Clock()).loss


def fitted(precision: str) -> Measured:
    """The same steps by Fedward's own loop."""
    method = built()
    phase = Phase(local=Local.model_validate({"precision": precision, "device": "cuda", "optimizer": OPTIMIZER}))

    def train(steps: int) -> None:
        fit(method, Noise(noise(), steps), (phase,), round_=0, rounds=1, seed=0, device=GPU)

    train(WARM_UP)
    return _measured(lambda: train(STEPS))


def _measured(train: Callable[[], object]) -> Measured:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    train()
    torch.cuda.synchronize()
    return STEPS * BATCH / (time.perf_counter() - start), torch.cuda.max_memory_allocated() / 1e6


def built() -> Method:
    """The network with its first weights."""
    with seeded(0):
        backbone = ViTConfig.model_validate(VIT_B).build(image_px=IMAGE_PX, channels=3)
        method = MAEConfig.model_validate(DECODER).build(backbone=backbone, contract=Contract(classes=(), channels=3))
    assert isinstance(method, Method)
    return method


def noise() -> torch.Tensor:
    """A batch as a loader gives it, on the CPU."""
    return torch.randn(BATCH, 3, IMAGE_PX, IMAGE_PX, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Noise:
    """One batch, so many times."""

    images: torch.Tensor
    num_steps: int

    @property
    def num_examples(self) -> int:
        """Images."""
        return len(self.images)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """The batch again and again; what is drawn for it differs."""
        batch = Batch(images=self.images)
        for step in range(self.num_steps):
            yield replace(batch, seed=seed % 2**31 + step)


def federation(images: int) -> Iterator[float]:
    """Images a second of every warm round of a whole simulation, whose sites have so many each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = (IMAGE_PX, IMAGE_PX, 3)
        sites = write_noise(folder, sites=SITES, images=(images, BATCH), shape=shape)
        seconds: list[float] = []

        def listen(event: Event) -> None:
            if event.kind is EventKind.ROUND_FINISHED:
                seconds.append(event.facts["seconds"])

        job = Job(spec=_spec(), run="mae", sites=sites, data=folder, out=folder / "out", workers=1)
        registry.resolve("engines", "inline")().run(job, listen)
    yield from (SITES * images / value for value in seconds[1:])


def _spec() -> Spec:
    local: dict[str, Any] = {"batch_size": BATCH, "precision": "mixed", "device": "cuda", "optimizer": OPTIMIZER}
    stage = {
        "name": "pretrain",
        "method": {"name": "mae", **DECODER},
        "backbone": {"name": "vit", **VIT_B},
        "rounds": ROUNDS,
        "local": local,
    }
    return Spec.parse(
        {
            "name": "mae",
            "dataset": {"name": "noise", "image_px": IMAGE_PX},
            "cohort": {"min_sites": SITES},
            "stages": [stage],
            "evaluate": {"every": 1000, "bootstrap": 0},
        }
    )


if __name__ == "__main__":
    main()
