"""Does pre-training on single frames help a network of clips, and what does separating its convolutions change?

    nice python -m benchmarks.experiments.sts --seeds 0 1 2 3 --out FOLDER

Handwritten digits of scikit-learn, enlarged to 14 x 14, first stand still somewhere in frames of 24 x 24, then move by
a pixel a frame in one of four directions: 6 frames, 40 classes of digit and direction. A single frame does not tell the
sense of motion. The network is a small CSN of 17,848 parameters in every arm. Arms that start from scratch take as many
steps in all as the others with their pre-training. Every arm is tested a second time with its frames shuffled; what it
then still knows of directions, it does not know from motion. Digits of the test are not those of training. Every
finished arm is a line of <out>/sts.jsonl and is not run again.
"""

import argparse
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.experiments.cost import show_steps
from benchmarks.experiments.labelled import Labelled
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.steps import Steps, train
from benchmarks.experiments.tables import show
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed
from fedward_core.cards import Contract, DataKind
from fedward_models.backbones.sts_resnet.config import STSResNetConfig
from fedward_models.building import seeded
from fedward_models.layers.image_weights import load_middle_slices, middle_slices
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised

# Whether frames come first, whether convolutions are separated, and whether outer slices start at zero.
ARMS = {
    "scratch_plain": (False, False, False),
    "scratch_sts": (False, True, False),
    "frames_plain": (True, False, False),
    "frames_sts": (True, True, False),
    "frames_center_sts": (True, True, True),
}
PAIRS = (
    *((arm, "scratch_plain") for arm in ARMS if arm != "scratch_plain"),
    ("frames_sts", "frames_plain"),
    ("frames_sts", "scratch_sts"),
)
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
DIGIT_PX, FRAME_PX, FRAMES, TEST_CLIPS = 14, 24, 6, 300
RATES = {"frames": (0.1, 64), "clips": (0.05, 32)}  # and batch sizes
CHANCE = {"joint": 1 / 40, "digit": 1 / 10, "direction": 1 / 4}


def main() -> None:
    """Run every arm that is not finished, and print the table and the cost of a step."""
    arguments = _arguments()
    same = {"steps": arguments.steps}
    rows = carry_out("sts", arguments, partial(_run, **same), same=same)
    for figure, chance in CHANCE.items():
        show(rows, (figure, f"{figure}_shuffled"), n=TEST_CLIPS, chance=chance)
        show_pairs(rows, figure, PAIRS)
    timed = {"plain": _method(0, sts=False), "sts": _method(0, sts=True)}
    show_steps(timed, _joint(*_clips(0, test=False)).batch(slice(32)), of="clips")


def _run(arm: str, seed: int, *, steps: int) -> Row:
    started = time.monotonic()
    method = _trained(arm, seed, steps)
    clips, digits, directions = _clips(seed, test=True)
    rng = torch.Generator().manual_seed(seed)
    shuffled = torch.stack([clip[:, torch.randperm(FRAMES, generator=rng)] for clip in clips])
    figures = {
        **_figures(method, clips, digits, directions, ""),
        **_figures(method, shuffled, digits, directions, "_shuffled"),
    }
    return {**figures, "n": len(clips), "seconds": round(time.monotonic() - started, 1)}


@torch.no_grad()
def _figures(method: Supervised, clips: Tensor, digits: Tensor, directions: Tensor, ending: str) -> dict[str, float]:
    found = method.predict(clips).argmax(dim=1)
    right = {
        "joint": found == digits * len(DIRECTIONS) + directions,
        "digit": found // len(DIRECTIONS) == digits,
        "direction": found % len(DIRECTIONS) == directions,
    }
    return {f"{name}{ending}": round(float(values.float().mean()), 4) for name, values in right.items()}


def _trained(arm: str, seed: int, steps: int) -> Supervised:
    """Frames take half as many steps as clips; from scratch, clips take those too."""
    frames_first, separated, center = ARMS[arm]
    before = steps // 2
    method = _method(seed, sts=separated)
    if frames_first:
        source = _method(seed, sts=False, classes=10, frames=1)
        _fit(source, _still(seed), before, stage="frames", seed=seed)
        method.inherit(source.state_dict(), source)
    if center:
        _keep_middle_slices(method)
    data = _joint(*_clips(seed, test=False))
    _fit(method, data, steps if frames_first else steps + before, stage="clips", seed=seed)
    return method.eval()


def _fit(method: Supervised, data: Labelled, steps: int, *, stage: str, seed: int) -> None:
    lr, batch_size = RATES[stage]
    local = {
        "optimizer": {"name": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True},
        "schedule": {"shape": "cosine", "warmup_rounds": 0.1},
        "clip_norm": 40.0,
    }
    train(method, Steps(data=data, num_steps=steps, batch_size=batch_size), seed=seed, local=local)


@torch.no_grad()
def _keep_middle_slices(method: Supervised) -> None:
    """Zeros in every slice that single frames cannot train."""
    kept = middle_slices(method.backbone)
    for module in method.backbone.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.zero_()
    load_middle_slices(method.backbone, kept)


def _method(seed: int, *, sts: bool, classes: int = 40, frames: int = FRAMES) -> Supervised:
    config = STSResNetConfig(width=16, depths=(2, 2), strides=(2, 2), expansion=2, stem="small", sts=sts, dropout=0.0)
    contract = Contract(
        kind=DataKind.CLIP, classes=tuple(f"class {number}" for number in range(classes)), channels=1, depth=frames
    )
    with seeded(seed):
        backbone = config.build(image_px=FRAME_PX, channels=1)
        return Supervised(SupervisedConfig(), backbone=backbone, contract=contract)


def _still(seed: int) -> Labelled:
    """2,400 single frames, (N, 1, 1, H, W), with digits at random places."""
    images, labels = _digits(test=False)
    rng = np.random.default_rng((seed, 1))
    chosen = rng.integers(len(images), size=2400)
    frames = np.stack([_placed(images[index], rng.integers(11, size=2), rng) for index in chosen])
    return Labelled(pixels=torch.from_numpy(frames)[:, None, None].float(), labels=labels[chosen])


def _clips(seed: int, *, test: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (N, 1, T, H, W), digits (N,) and directions (N,)."""
    images, labels = _digits(test=test)
    rng = np.random.default_rng((seed, 2 + test))
    count = TEST_CLIPS if test else 480
    chosen, directions = rng.integers(len(images), size=count), rng.integers(len(DIRECTIONS), size=count)
    clips = np.stack([_moving(images[i], DIRECTIONS[d], rng) for i, d in zip(chosen, directions, strict=True)])
    return torch.from_numpy(clips)[:, None].float(), labels[chosen], torch.from_numpy(directions)


def _joint(clips: Tensor, digits: Tensor, directions: Tensor) -> Labelled:
    """Clips with their classes of digit and direction."""
    return Labelled(pixels=clips, labels=digits * len(DIRECTIONS) + directions)


def _moving(image: np.ndarray, direction: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Opposite directions pass through the same places, one from each end."""
    way = FRAMES - 1
    room = FRAME_PX - DIGIT_PX + 1
    start = [rng.integers(room - way * abs(step)) + (way if step < 0 else 0) for step in direction]
    places = [np.array(start) + np.array(direction) * frame for frame in range(FRAMES)]
    return np.stack([_placed(image, place, rng) for place in places])


def _placed(image: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    frame = rng.normal(0, 0.1, (FRAME_PX, FRAME_PX))
    row, column = place
    frame[row : row + DIGIT_PX, column : column + DIGIT_PX] += image
    return frame


def _digits(*, test: bool) -> tuple[np.ndarray, Tensor]:
    """Digits in [0, 1], (N, 14, 14); the last 400 are for the test."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import

    images, labels = load_digits(return_X_y=True)
    part = slice(-400, None) if test else slice(0, -400)
    small = torch.from_numpy(images[part]).view(-1, 1, 8, 8) / 16
    large = functional.interpolate(small, size=DIGIT_PX, mode="bilinear", align_corners=False)
    return large[:, 0].numpy(), torch.from_numpy(labels[part].astype(np.int64))


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=4, arms=ARMS)
    parser.add_argument("--steps", type=int, default=400, help="of clips; frames take half as many before them")
    return parsed(parser)


if __name__ == "__main__":
    main()
