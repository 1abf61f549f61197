from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedward_core.cards import Contract
from fedward_core.config import Config
from fedward_core.spec import Local
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.training.config import AdamWConfig, LARSConfig, SGDConfig
from fedward_models.training.optimizer import build_optimizer, set_rate


def group_of(method: Method, local: Local) -> dict[str, dict[str, Any]]:
    """The parameter group of every parameter, by name."""
    parameters = dict(method.named_parameters())
    optimizer = build_optimizer(method, parameters, local)
    by_identity = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return {name: by_identity[id(parameter)] for name, parameter in parameters.items()}


def test_layer_scales_of_a_base_transformer_are_powers_of_the_decay() -> None:
    backbone = ViTConfig(width=4, depth=12, heads=1, mlp_ratio=1, patch_px=4).build(image_px=8, channels=1)
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b")))
    groups = group_of(method, Local(layer_decay=0.65))
    layers = {"backbone.cls_token": 0, "backbone.patch_embed.proj.bias": 0, "backbone.fc_norm.weight": 13}
    layers |= {f"backbone.blocks.{i}.attn.qkv.weight": i + 1 for i in range(12)} | {"head.bias": 13, "head.weight": 13}
    for name, layer in layers.items():
        assert groups[name]["lr_scale"] == pytest.approx(0.65 ** (13 - layer), rel=1e-12)


def test_adamw_spares_biases_norms_and_what_the_method_names(make_method: Callable[[], Method]) -> None:
    method = make_method()
    method.backbone.no_weight_decay = ("pos_embed",)  # type: ignore[misc]
    groups = group_of(method, Local(optimizer=AdamWConfig(weight_decay=0.3)))
    spared = {name for name, group in groups.items() if group["weight_decay"] == 0}
    assert spared == {n for n, p in method.named_parameters() if p.ndim == 1 or n == "backbone.pos_embed"}
    assert {group["weight_decay"] for name, group in groups.items() if name not in spared} == {0.3}


def test_sgd_decays_everything(make_method: Callable[[], Method]) -> None:
    groups = group_of(make_method(), Local(optimizer=SGDConfig(weight_decay=0.3)))
    assert {group["weight_decay"] for group in groups.values()} == {0.3}


def test_without_layer_decay_there_are_no_more_groups_than_decays(make_method: Callable[[], Method]) -> None:
    method = make_method()
    optimizer = build_optimizer(method, dict(method.named_parameters()), Local())
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AdamWConfig(lr=0.2, betas=(0.8, 0.7), eps=1e-3), {"lr": 0.2, "betas": (0.8, 0.7), "eps": 1e-3}),
        (SGDConfig(lr=0.3, momentum=0.6, nesterov=True), {"lr": 0.3, "momentum": 0.6, "nesterov": True}),
        (LARSConfig(lr=4.8, momentum=0.7), {"lr": 4.8, "momentum": 0.7}),
    ],
    ids=["adamw", "sgd", "lars"],
)
def test_every_setting_reaches_the_optimiser(
    config: Config, expected: dict[str, object], make_method: Callable[[], Method]
) -> None:
    method = make_method()
    defaults = build_optimizer(method, dict(method.named_parameters()), Local(optimizer=config)).defaults
    assert {key: defaults[key] for key in expected} == expected


@pytest.mark.parametrize(("rate", "momentum"), [(0.0, 0.9), (0.05, 0.875), (0.2, 0.8)])
def test_the_momentum_falls_as_the_rate_rises(rate: float, momentum: float, make_method: Callable[[], Method]) -> None:
    """Whatever the layer's own scale of the rate is."""
    method = make_method()
    config = SGDConfig(lr=0.2, momentum=0.9, peak_momentum=0.8)
    parameters = dict(method.named_parameters())
    optimizer = build_optimizer(method, parameters, Local(optimizer=config, layer_decay=0.5))
    set_rate(optimizer, rate)
    assert len(optimizer.param_groups) > 1
    assert [group["momentum"] for group in optimizer.param_groups] == pytest.approx(
        [momentum] * len(optimizer.param_groups)
    )
    assert {group["lr"] for group in optimizer.param_groups} == {
        rate * group["lr_scale"] for group in optimizer.param_groups
    }


def test_the_momentum_stands_still_where_nothing_is_said(make_method: Callable[[], Method]) -> None:
    method = make_method()
    optimizer = build_optimizer(method, dict(method.named_parameters()), Local(optimizer=SGDConfig(momentum=0.9)))
    set_rate(optimizer, 0.05)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


def test_adamw_steps_to_the_same_bits_with_any_number_of_threads(make_method: Callable[[], Method]) -> None:
    before = torch.get_num_threads()
    try:
        results = [step_with(threads, make_method()) for threads in (1, 2)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def step_with(threads: int, method: Method) -> list[torch.Tensor]:
    torch.set_num_threads(threads)
    rng = torch.Generator().manual_seed(1)
    large = {"large": torch.nn.Parameter(torch.randn(100003, generator=rng))}
    parameters = {**dict(method.named_parameters()), **large}
    optimizer = build_optimizer(method, parameters, Local())
    for _ in range(3):
        for parameter in parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        optimizer.step()
    return [parameter.detach() for parameter in parameters.values()]


def test_looking_ahead_along_no_velocity_is_refused() -> None:
    with pytest.raises(ValueError, match="nesterov has no effect with momentum 0"):
        SGDConfig(momentum=0.0, nesterov=True)
