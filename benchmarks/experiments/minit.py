"""Does MINiT learn a local change of shape, and do its maps show where it lies, better than other maps do?

    nice python -m benchmarks.experiments.minit --seeds 0 1 2 3 4 --steps 240 --out FOLDER

Volumes of 24 x 24 x 24, made on the spot: one template, a smooth deformation and a shift of up to --shift voxels for
each subject, noise. Two sites are larger in one class and smaller in the other. Arms: MINiT, its ablations without or
with one embedding a block, NiT, a network of three convolutions, and MINiT on permuted labels, which must stay at
chance. Every finished arm is a line of <out>/minit.jsonl and is not run again.

Figures over n test volumes: accuracy; ``lift``, the part of a map of the head that lies in the sites over the part of
the head that does, 1 for a map that knows nothing, by kind of map, over the volumes that were classified right, beside
that of the same network before training; for MINiT the part of the differing contributions that falls to the five
blocks with a site, of 27, 0.19 by chance.
"""

import argparse
import time
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import starmap

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.experiments.convolutions import Convolutions
from benchmarks.experiments.cost import num_parameters, show_steps
from benchmarks.experiments.labelled import Labelled, accuracy
from benchmarks.experiments.pairs import show_pairs
from benchmarks.experiments.steps import Steps, train
from benchmarks.experiments.tables import by_arm, show
from benchmarks.experiments.trial import Row, carry_out, common_arguments, parsed
from fedward_core.cards import Contract
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.minit.config import MINiTConfig, NiTConfig
from fedward_models.backbones.minit.minit import MINiT
from fedward_models.backbones.minit.nit import NiT
from fedward_models.building import seeded
from fedward_models.explanations.contributions import block_contributions, for_class
from fedward_models.explanations.gradients import grad_cam, integrated_gradients
from fedward_models.explanations.voxel_map import attention_map, contribution_map
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised

SIDE, TRAIN, TEST, BATCH = 24, 480, 200, 24
SITES, RADIUS = ((0.4, 0.1, -0.2), (-0.4, 0.1, -0.2)), 0.18
PLANTED = ((0, 1, 1), (2, 1, 1), (1, 1, 1), (0, 1, 0), (2, 1, 0))
AMOUNT, NOISE, WAVES = 0.6, 0.1, 0.06
ENCODER = {"width": 64, "depth": 3, "heads": 4, "hidden": 96, "dropout": 0.0, "embedding_dropout": 0.0}
ABLATIONS = {"minit": "table", "minit_vector": "vector", "minit_none": "none", "minit_permuted": "table"}
ARMS = (*ABLATIONS, "nit", "cnn")
PAIRS = (
    *(("minit", other) for other in ("nit", "cnn", "minit_permuted")),
    *((ablation, "minit") for ablation in ("minit_vector", "minit_none")),
)
MAPPED = 40  # volumes whose maps are drawn
Maps = dict[str, Callable[[Tensor], Tensor]]


def main() -> None:
    """Run every arm that is not finished, and print the tables and the cost of a step."""
    arguments = _arguments()
    same = {"steps": arguments.steps, "shift": arguments.shift}
    rows = carry_out("minit", arguments, partial(_run, **same), same=same)
    show(rows, ("accuracy",), n=TEST, chance=0.5)
    show_pairs(rows, "accuracy", PAIRS)
    _show_maps(rows)
    data = subjects(TRAIN + TEST, shift=arguments.shift, seed=arguments.seeds[-1])
    show_steps({arm: build(arm, 0) for arm in ("minit", "nit", "cnn")}, data.batch(slice(BATCH)), of="volumes")


@lru_cache(maxsize=1)  # all arms of a seed have the same
def subjects(count: int, *, shift: int, seed: int) -> Labelled:
    """Volumes of both classes in turn, standardised one by one."""
    rng, template = torch.Generator().manual_seed(1000 + seed), _template()
    labels = torch.arange(count) % 2
    volumes = torch.stack([_subject(template, int(label), shift, rng) for label in labels])
    return Labelled(pixels=volumes, labels=labels)


def _template() -> Tensor:
    """(1, S, S, S): smooth noise within an ellipsoid, the same for all subjects and seeds."""
    coarse = torch.randn(1, 1, 10, 10, 10, generator=torch.Generator().manual_seed(0))
    fine = functional.interpolate(coarse, size=SIDE, mode="trilinear", align_corners=True)[0]
    return (1 + 0.5 * fine) * _head()


def _head() -> Tensor:
    """(S, S, S): whether a voxel lies within the head."""
    return (_places() / torch.tensor([0.85, 0.95, 0.8])).square().sum(dim=-1) < 1


def _places() -> Tensor:
    """(S, S, S, 3): each voxel along the three axes, in [-1, 1]."""
    along = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    return torch.stack(torch.meshgrid(along, along, along, indexing="ij"), dim=-1)


def _subject(template: Tensor, label: int, shift: int, rng: torch.Generator) -> Tensor:
    places = _places()
    coarse = WAVES * torch.randn(1, 3, 4, 4, 4, generator=rng)
    waves = functional.interpolate(coarse, size=SIDE, mode="trilinear", align_corners=True)[0].movedim(0, -1)
    moved = places + torch.randint(-shift, shift + 1, (3,), generator=rng) * (2 / SIDE)
    source = moved + waves
    for site in SITES:
        way = moved - torch.tensor(site)
        near = torch.exp(-way.square().sum(dim=-1, keepdim=True) / (2 * RADIUS**2))
        source = source - (2 * label - 1) * AMOUNT * near * way  # samples from nearer the middle: larger
    # Axes are sampled in the order width, height, depth.
    volume = functional.grid_sample(template[None], source.flip(-1)[None], align_corners=False)[0]
    volume = volume + NOISE * torch.randn(volume.shape, generator=rng)
    return (volume - volume.mean()) / volume.std()


def _run(arm: str, seed: int, *, steps: int, shift: int) -> Row:
    data, started = subjects(TRAIN + TEST, shift=shift, seed=seed), time.monotonic()
    known, test = data.part(0, TRAIN), data.part(TRAIN, TRAIN + TEST)
    method = build(arm, seed).eval()
    before = _lifts(method, test.part(0, MAPPED))
    if arm == "minit_permuted":
        order = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(seed))
        known = Labelled(pixels=known.pixels, labels=known.labels[order])
    local = {
        "optimizer": {"name": "adamw", "lr": 2e-3 if arm == "cnn" else 1e-3, "weight_decay": 0.05},
        "schedule": {"shape": "cosine", "warmup_rounds": 0.1},
    }
    train(method, Steps(data=known, num_steps=steps, batch_size=BATCH), seed=seed, local=local)
    method.eval()
    return {
        "accuracy": accuracy(method, test),
        "lift_before": before,
        "lift": _lifts(method, test.part(0, MAPPED)),
        "planted_blocks": _planted_share(method, test),
        "n": TEST,
        "parameters": num_parameters(method),
        "seconds": round(time.monotonic() - started, 1),
    }


def build(arm: str, seed: int) -> Supervised:
    """The network of an arm."""
    with seeded(seed):
        return Supervised(SupervisedConfig(), backbone=_backbone(arm), contract=Contract(classes=("smaller", "larger")))


def _backbone(arm: str) -> Backbone:
    if arm == "cnn":
        return Convolutions(*starmap(_convolution, ((1, 16), (16, 32), (32, 64))), num_features=64)
    shape = {**ENCODER, "embedding_std": 0.02}
    if arm == "nit":
        return NiT(NiTConfig.model_validate({**shape, "patch_px": 8}), image_px=SIDE, channels=1)
    config = {**shape, "block_px": 8, "patch_px": 4, "block_embedding": ABLATIONS[arm]}
    return MINiT(MINiTConfig.model_validate(config), image_px=SIDE, channels=1)


def _maps(method: Supervised) -> Maps:
    """Kinds of maps that the network allows: (B, 1, S, S, S) to (B, S, S, S)."""
    backbone, nothing = method.backbone, torch.zeros(1)

    def larger(images: Tensor) -> Tensor:
        logits = method.logits(images)
        return logits[:, 1] - logits[:, 0]

    found: Maps = {"integrated_gradients": lambda x: integrated_gradients(larger, x, baseline=nothing)[:, 0]}
    if isinstance(backbone, MINiT):
        assert isinstance(method.head, nn.Linear)
        head = method.head
        found["contributions"] = lambda x: contribution_map(backbone, head, x, chosen=1)
    if isinstance(backbone, MINiT | NiT):
        found["attention"] = lambda x: attention_map(backbone, x)
    if isinstance(backbone, Convolutions):
        layer = backbone.layers[-2]
        found["grad_cam"] = lambda x: grad_cam(larger, layer, x) + grad_cam(lambda y: -larger(y), layer, x)
    return found


def _lifts(method: Supervised, data: Labelled) -> dict[str, float]:
    """Over volumes that are classified right; nothing where there are none."""
    with torch.no_grad():
        right = method.logits(data.pixels).argmax(dim=1) == data.labels
    if not right.any():
        return {}
    head, inside = _head().flatten(), (_inside() & _head()).flatten()
    chance = float(inside.sum() / head.sum())
    lifts = {}
    for name, draw in _maps(method).items():
        heat = draw(data.pixels[right]).detach().abs().flatten(1)
        shares = heat[:, inside].sum(dim=1) / heat[:, head].sum(dim=1).clamp_min(1e-12)
        lifts[name] = round(float(shares.mean()) / chance, 3)
    return lifts


def _inside() -> Tensor:
    """(S, S, S): within two deviations of a site, where the registration puts it."""
    squares = torch.stack([(_places() - torch.tensor(site)).square().sum(dim=-1) for site in SITES])
    return squares.min(dim=0).values < (2 * RADIUS) ** 2


def _planted_share(method: Supervised, data: Labelled) -> float | None:
    """The part of the absolute difference of both classes' mean contributions that falls to blocks with a site."""
    if not isinstance(method.backbone, MINiT):
        return None
    assert isinstance(method.head, nn.Linear)
    found = for_class(block_contributions(method.backbone, method.head, data.pixels), 1)
    difference = (found[data.labels == 1].mean(dim=0) - found[data.labels == 0].mean(dim=0)).abs()
    planted = [9 * x + 3 * y + z for x, y, z in PLANTED]
    return round(float(difference[planted].sum() / difference.sum()), 4)


def _show_maps(rows: list[Row]) -> None:
    """Means over seeds; 1 is a map that knows nothing of the sites."""
    print(f"\n| arm | map | lift, up to {MAPPED} volumes a seed | before training | planted blocks, chance 0.19 |")
    print("|---|---|---|---|---|")
    for arm, own in by_arm(rows).items():
        for kind in dict.fromkeys(kind for row in own for kind in row["lift"]):
            lift, before = (_mean([row[when].get(kind) for row in own]) for when in ("lift", "lift_before"))
            judgement = "" if lift > 1.1 * max(before, 1) else ": no evidence"
            share = f"{_mean([row['planted_blocks'] for row in own]):.2f}" if kind == "contributions" else ""
            print(f"| {arm} | {kind} | {lift:.2f}{judgement} | {before:.2f} | {share} |")


def _mean(values: list[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv3d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.ReLU())


def _arguments() -> argparse.Namespace:
    parser = common_arguments(__doc__, seeds=5, arms=ARMS)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--shift", type=int, default=2, help="voxels of misregistration along each axis")
    return parsed(parser)


if __name__ == "__main__":
    main()
