"""What every registered method must keep, on every backbone that it can train.

Methods that run without torch have a suite of their own.
"""

import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from fedward_core import registry
from fedward_core.cards import Contract, DataNeed
from fedward_core.errors import SpecError
from fedward_core.partition import Partition, Role
from fedward_core.spec import Spec
from fedward_models.batch import Batch
from fedward_models.building import manifest_of, seeded
from fedward_models.method import Method
from fedward_models.step import Clock

IMAGE_PX, CONTRACT = 32, Contract(classes=("normal", "pneumonia", "covid"), channels=3)
MONAI_RESNET: dict[str, Any] = {
    "network": "ResNet",
    "arguments": {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 16, 32], "no_max_pool": True},
}
# Small enough for a test, with everything on that draws at random; what is not named here is tried with its defaults.
TINY: dict[str, dict[str, Any]] = {
    "vit": {"width": 24, "depth": 3, "heads": 3, "patch_px": 8, "drop_path": 0.5},
    "beit_vit": {"width": 24, "depth": 3, "heads": 3, "patch_px": 8, "drop_path": 0.5},
    "clip_vit": {"width": 24, "depth": 3, "heads": 3, "patch_px": 8, "features": 16},
    "preact_resnet": {"width": 4, "activation": "silu"},
    "probe": {"weights": "as_built"},
    "resnet": {"width": 4, "depths": (1, 1, 1, 1), "input_px": 64},
    "robust_cnn": {"width": 4, "depths": (1, 1, 2, 1), "patch_px": 4, "kernel_px": 3, "drop_path": 0.5},
    "small_cnn": {"widths": (6, 8), "hidden": (10,)},
    "beit": {"mask_ratio": 0.5, "drop_path": 0.5, "view": {}},
    "dmae": {
        "teacher": {"width": 32, "depth": 4, "heads": 2},
        "decoder_width": 16,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "view": {},
    },
    "evp": {"weights": "as_built", "image_px": 16},
    "fedbyol": {"hidden": 16, "width": 8},
    "fgsm_at": {"attack": "fgsm_rs", "grad_align": 0.2, "mask_px": 2, "evaluation_steps": 2, "monitor_steps": 1},
    "minit": {"width": 24, "depth": 3, "heads": 3, "hidden": 16, "block_px": 16, "patch_px": 8, "dropout": 0.1},
    "monai": MONAI_RESNET,
    "monai_volume": MONAI_RESNET,
    "nit": {"width": 24, "depth": 3, "heads": 3, "hidden": 16, "dropout": 0.1},
    "sts_resnet": {"width": 4, "depths": (1, 1), "stem": "small"},
    "timm": {"network": "test_resnet", "arguments": {"output_stride": 8}},
    "mae": {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "mgca": {
        "text": {"width": 16, "depth": 1, "heads": 2, "max_tokens": 12},
        "hidden": 16,
        "width": 8,
        "prototypes": 6,
        "view": {"flip": 0},
    },
    "sdmp": {"base": {"name": "moco", "hidden": 16, "width": 8}},
    "supervised": {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1},
}
METHODS = [name for name in registry.names("methods") if registry.resolve("methods", name).runtime == "torch"]
# Methods that can train some backbones only.
NEEDS = {name: registry.resolve("backbones", name).need for name in registry.names("backbones")}
FLAT = {name for name, need in NEEDS.items() if need is DataNeed.IMAGE}
TRAINS = {"beit": {"beit_vit"}, "dmae": {"vit"}, "evp": FLAT, "mae": {"vit"}}
REFUSED = [(m, b) for m, trained in TRAINS.items() for b in registry.names("backbones") if b not in trained]
# A method of images reads what its backbone reads; one of views or reports has backbones of images only.
FOR_IMAGES = [name for name in METHODS if registry.resolve("methods", name).need is DataNeed.IMAGE]
FITTING = [(m, b) for m in METHODS for b, need in NEEDS.items() if m in FOR_IMAGES or need is DataNeed.IMAGE]
PAIRS = [pair for pair in FITTING if pair not in REFUSED]
LEADING = {DataNeed.IMAGE: (), DataNeed.VOLUME: (IMAGE_PX,), DataNeed.CLIP: (8,)}  # axes before height and width

# A prompt is measured in pixels and moves far, and so does a head alone; all else is tried at one small rate.
RATES = {"evp": 0.03, "probe": 0.03}

# Methods of other installed packages keep their pages themselves.
OURS = distribution("fedward").entry_points.select(group="fedward.methods").names
ZOO = Path(__file__).parents[2] / "docs" / "zoo"

# Untrained, it sees hardly a difference between clips of noise, so that a head on it has nothing to learn from.
BLIND = {("probe", "sts_resnet")}

every_method = pytest.mark.parametrize(("name", "backbone"), PAIRS)


def build(name: str, backbone: str, *, seed: int = 0, tiny: bool = True) -> Method:
    method_config, backbone_config = (
        registry.resolve(kind, key).default(**(TINY.get(key, {}) if tiny else {}))
        for kind, key in (("methods", name), ("backbones", backbone))
    )
    with seeded(seed):
        network = backbone_config.build(image_px=IMAGE_PX, channels=CONTRACT.channels)
        method = method_config.build(backbone=network, contract=CONTRACT)
    assert isinstance(method, Method)
    return method


def raw_batch(backbone: str, size: int = 6) -> Batch:
    rng = torch.Generator().manual_seed(5)
    images = torch.randn(size, CONTRACT.channels, *LEADING[NEEDS[backbone]], IMAGE_PX, IMAGE_PX, generator=rng)
    labels = torch.arange(size) % len(CONTRACT.classes)
    return Batch(images=images, labels=labels, seed=11, reports=tuple(f"{n} nodules are seen." for n in range(size)))


def prepared(method: Method, backbone: str, seed: int = 0) -> Batch:
    return method.prepare(raw_batch(backbone), torch.Generator().manual_seed(seed))


def loss_of(method: Method, batch: Batch) -> Tensor:
    """The loss as training computes it: what modules draw themselves comes from the batch's seed."""
    with seeded(batch.seed):
        return method.training_step(batch, Clock()).loss


@every_method
def test_it_builds_from_its_defaults(name: str, backbone: str) -> None:
    method = build(name, backbone, tiny=False)
    assert torch.isfinite(loss_of(method, prepared(method, backbone)))


@pytest.mark.parametrize("name", METHODS)
def test_a_wrong_setting_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match="unknown key 'colour'"):
        registry.resolve("methods", name).default(colour="green")


@pytest.mark.parametrize(("name", "backbone"), REFUSED)
def test_a_backbone_that_it_cannot_train_is_refused(name: str, backbone: str) -> None:
    with pytest.raises(SpecError, match="choose the backbone"):
        build(name, backbone)


@pytest.mark.parametrize(("name", "backbone"), [pair for pair in PAIRS if pair not in BLIND])
def test_steps_lower_the_loss_of_one_batch(name: str, backbone: str) -> None:
    method = build(name, backbone)
    batch = prepared(method, backbone)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=RATES.get(name, 3e-3))
    before = loss_of(method, batch)
    for _ in range(8):
        optimizer.zero_grad()
        loss_of(method, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss_of(method, batch).detach()) < 0.98 * float(before.detach())


@every_method
def test_gradients_reach_all_that_is_trained_and_nothing_else(name: str, backbone: str) -> None:
    method = build(name, backbone)
    method.eval()  # no block is skipped
    for parameter in method.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    loss_of(method, prepared(method, backbone)).backward()  # type: ignore[no-untyped-call]
    reached = {n for n, p in method.named_parameters() if p.grad is not None and bool(p.grad.count_nonzero())}
    assert reached == {n for n, p in method.named_parameters() if p.requires_grad}


@every_method
def test_the_same_prepared_batch_has_the_same_loss_twice(name: str, backbone: str) -> None:
    """Also in training mode, where blocks are skipped: all chance is in the batch."""
    method = build(name, backbone).train()
    batch = prepared(method, backbone)
    first, second = loss_of(method, batch), loss_of(method, batch)
    assert torch.equal(first, second)


@every_method
def test_the_same_seed_gives_the_same_numbers(name: str, backbone: str) -> None:
    losses = []
    for seed in (0, 0, 1):
        method = build(name, backbone, seed=seed)
        losses.append(loss_of(method, prepared(method, backbone, seed)).detach())
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


@every_method
def test_preparing_leaves_the_batch_and_the_global_generator_alone(name: str, backbone: str) -> None:
    method, batch = build(name, backbone), raw_batch(backbone)
    before, state = batch.images.clone(), torch.get_rng_state()
    method.prepare(batch, torch.Generator().manual_seed(0))
    assert torch.equal(batch.images, before)
    assert torch.equal(torch.get_rng_state(), state)


@every_method
def test_what_was_saved_loads_again(name: str, backbone: str) -> None:
    source, target = build(name, backbone), build(name, backbone, seed=1)
    target.load_state_dict(source.state_dict())
    batch = prepared(source, backbone)
    assert torch.equal(loss_of(source, batch), loss_of(target, batch))


@every_method
def test_its_rules_cover_every_tensor(name: str, backbone: str) -> None:
    method = build(name, backbone)
    manifest = manifest_of(method)
    partition = Partition(manifest, method.rules())
    state = {key: tensor.numpy() for key, tensor in method.state_dict().items()}
    shared, private = partition.split(state)
    merged = partition.merge(shared, private)
    assert set(shared) | set(private) == set(manifest.names())
    assert all((merged[key] == array).all() for key, array in state.items())


@every_method
def test_evaluation_gives_one_finite_loss_for_each_image(name: str, backbone: str) -> None:
    method = build(name, backbone).eval()
    with torch.no_grad():
        losses = method.evaluation_loss(prepared(method, backbone))
        predictions = method.predict(raw_batch(backbone).images)
    assert losses.shape == (6,)
    assert bool(torch.isfinite(losses).all())
    assert len(predictions) == 6


@every_method
def test_a_stage_of_the_same_kind_takes_over_everything_but_what_stayed_at_the_sites(name: str, backbone: str) -> None:
    source, target = build(name, backbone), build(name, backbone, seed=1)
    inheritance = target.inherit(source.state_dict(), source)
    partition = Partition(manifest_of(target), target.rules())
    left = set(target.state_dict()) - set(inheritance.taken)
    assert all(partition.role(key) is Role.PRIVATE for key in left)
    assert all(torch.equal(target.state_dict()[key], source.state_dict()[key]) for key in inheritance.taken)


@pytest.mark.parametrize("name", [name for name in METHODS if name in OURS])
def test_its_page_names_every_setting_and_holds_a_valid_recipe(name: str) -> None:
    page = (ZOO / f"{name}.md").read_text()
    settings = set(registry.resolve("methods", name).model_fields) - {"name"}
    assert settings == set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page, flags=re.MULTILINE))
    (recipe,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert Spec.parse(yaml.safe_load(recipe)).stages[-1].method.name == name


@pytest.mark.parametrize("name", [name for name in METHODS if name in OURS])
def test_what_its_steps_report_stands_on_the_page_of_figures(name: str) -> None:
    backbone = next(backbone for method, backbone in PAIRS if method == name)
    method, page = build(name, backbone), (ZOO.parent / "figures.md").read_text()
    with seeded(0):
        figures = method.training_step(prepared(method, backbone), Clock()).figures
    assert not [figure for figure in figures if f"`{figure}`" not in page]
