"""What experiments on pre-training have in common: images, steps, probes, records, and what a step costs.

A data folder holds ``train.npz`` and ``test.npz`` with JPEG streams end to end (``jpeg``, ``offsets``, ``labels``).
"""

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fedward_core.arrays import digest
from fedward_core.spec import Local
from fedward_models.method import Batch, Clock, Method
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.weights import arrays_of

MEAN, STD = 0.47, 0.25  # of CIFAR-10's pixels, all channels together
CPU = torch.device("cpu")
FASTEST = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Images with their classes: (N, 3, 32, 32), standardised, and (N,)."""

    images: Tensor
    labels: Tensor

    def part(self, start: int, stop: int) -> "ImageData":
        """Some of them."""
        return ImageData(images=self.images[start:stop], labels=self.labels[start:stop])


def read(path: Path, count: int) -> ImageData:
    """The first images of a file, which is shuffled."""
    with np.load(path, allow_pickle=False) as file:
        streams, offsets, labels = file["jpeg"].tobytes(), file["offsets"], file["labels"]
    pictures = [
        np.asarray(Image.open(io.BytesIO(streams[offsets[i] : offsets[i + 1]])).convert("RGB")) for i in range(count)
    ]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return ImageData(images=(pixels - MEAN) / STD, labels=torch.from_numpy(labels[:count].astype(np.int64)))


@dataclass(frozen=True, kw_only=True)
class Steps:
    """So many batches, over freshly shuffled images: one epoch of ``fit``."""

    images: Tensor
    num_steps: int
    batch_size: int

    @property
    def num_examples(self) -> int:
        """Images."""
        return len(self.images)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """All batches, in an order that depends on the seed alone."""
        rng, left = torch.Generator().manual_seed(seed % 2**63), torch.empty(0, dtype=torch.long)
        for step in range(self.num_steps):
            if len(left) < self.batch_size:
                left = torch.randperm(len(self.images), generator=rng)
            chosen, left = left[: self.batch_size], left[self.batch_size :]
            yield Batch(images=self.images[chosen], seed=step, mean=MEAN, std=STD)


def train(method: Method, steps: Steps, *, lr: float, seed: int, weight_decay: float = 0.05) -> dict[str, float]:
    """Train with AdamW, a tenth of warm-up and a half cosine; the mean figures over all steps.

    On a GPU if there is one; the method is then on the CPU again.
    """
    local = Local.model_validate(
        {
            "batch_size": steps.batch_size,
            "optimizer": {"name": "adamw", "lr": lr, "betas": [0.9, 0.95], "weight_decay": weight_decay},
            "schedule": {"shape": "cosine", "warmup_rounds": 0.1},
        }
    )
    figures = fit(method, steps, (Phase(local=local),), round_=0, rounds=1, seed=seed, device=FASTEST).figures
    method.to(CPU)
    return figures


@torch.no_grad()
def features(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(N, E), in parts."""
    return torch.cat([encode(part) for part in torch.split(images, 250)])


def ridge_scores(known: Tensor, labels: Tensor, asked: Tensor, *, penalty: float = 1.0) -> Tensor:
    """(N, classes), by a linear map found in closed form, on features of mean 0 and deviation 1."""
    mean, deviation = known.mean(dim=0), known.std(dim=0) + 1e-6
    known, asked = ((part - mean) / deviation for part in (known, asked))
    targets = torch.nn.functional.one_hot(labels).float()
    gram = known.T @ known + penalty * torch.eye(known.shape[1])
    weights: Tensor = torch.linalg.solve(gram, known.T @ (targets - targets.mean(dim=0)))
    return asked @ weights + targets.mean(dim=0)


def ridge_probe(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """The accuracy of ``ridge_scores``."""
    return _accuracy(ridge_scores(known, labels, asked), truth)


def nearest_probe(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor, *, k: int = 20) -> float:
    """The accuracy of the k nearest by cosine, each with weight exp(similarity / 0.1)."""
    known, asked = (torch.nn.functional.normalize(part, dim=1) for part in (known, asked))
    similarity, index = (asked @ known.T).topk(k, dim=1)
    votes = torch.nn.functional.one_hot(labels)[index] * (similarity / 0.1).exp().unsqueeze(2)
    return _accuracy(votes.sum(dim=1), truth)


def verdict(accuracy: float, *, n: int, chance: float, untrained: float | None) -> str:
    """Whether an accuracy is two standard errors above chance, and above the same network without training, if any."""
    if accuracy <= chance + 2 * (chance * (1 - chance) / n) ** 0.5:
        return "no evidence"
    if untrained is not None and accuracy <= untrained + 2 * (2 * untrained * (1 - untrained) / n) ** 0.5:
        return "no evidence over the untrained network"
    return ""


def tower_digest(network: torch.nn.Module) -> str:
    """The first digits of the digest of a network's weights."""
    return digest(arrays_of(network))[:16]


def flops(method: Method, images: Tensor) -> int:
    """Multiplications and additions of one step, forward and backward."""
    batch = method.prepare(Batch(images=images, mean=MEAN, std=STD), torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        method.training_step(batch, Clock()).loss.backward()  # type: ignore[no-untyped-call]
    method.zero_grad()
    return int(counter.get_total_flops())


def median_ms(work: Callable[[], object], *, repeats: int = 7) -> float:
    """The median processor time of a piece of work on one thread, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000 * float(np.median(times))


def step_ms(method: Method, images: Tensor) -> dict[str, float]:
    """What a step costs: drawing, its forward and backward, and those of the plain network on whole images."""
    raw = Batch(images=images, mean=MEAN, std=STD)
    batch = method.prepare(raw, torch.Generator().manual_seed(0))

    def step() -> None:
        method.training_step(batch, Clock()).loss.backward()  # type: ignore[no-untyped-call]

    def plain() -> None:
        method.backbone(images).sum().backward()

    draw = median_ms(lambda: method.prepare(raw, torch.Generator().manual_seed(0)))
    return {"draw_ms": draw, "step_ms": median_ms(step), "plain_ms": median_ms(plain)}


def records(path: Path) -> list[dict[str, Any]]:
    """What was written so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, record: dict[str, Any]) -> None:
    """Write one line, and show it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


def show(
    rows: Iterable[dict[str, Any]],
    figures: tuple[str, ...],
    *,
    n: int,
    chance: float,
    judged: tuple[str, ...] | None = None,
) -> None:
    """The mean and range over seeds of each arm, as a table, and which figures are no evidence.

    Args:
        rows: What was recorded.
        figures: The columns.
        n: Test images.
        chance: What guessing gets.
        judged: The accuracies among the columns that are judged; None for the first alone.
    """
    found, judged = list(rows), judged or figures[:1]
    untrained = [row for row in found if row["arm"] == "untrained"]
    plain = {figure: _mean(untrained, figure) if untrained else None for figure in judged}
    print(f"\n| arm | seeds | {' | '.join(figures)} | |\n|---|---|{'---|' * (len(figures) + 1)}")
    for arm in dict.fromkeys(row["arm"] for row in found):
        own = [row for row in found if row["arm"] == arm]
        cells = [_spread([row[figure] for row in own]) for figure in figures]
        doubts = {figure: verdict(_mean(own, figure), n=n, chance=chance, untrained=plain[figure]) for figure in judged}
        told = [f"{figure}: {doubt}" if len(judged) > 1 else doubt for figure, doubt in doubts.items() if doubt]
        print(f"| {arm} | {len(own)} | {' | '.join(cells)} | {'; '.join(told)} |")
    print(f"\nn = {n} test images, chance {chance:.3g}. Means over seeds, least and most in brackets.")


def _mean(rows: list[dict[str, Any]], figure: str) -> float:
    return float(np.mean([row[figure] for row in rows]))


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def _accuracy(scores: Tensor, truth: Tensor) -> float:
    return float((scores.argmax(dim=1) == truth).float().mean())
