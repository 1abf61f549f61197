"""The recipes of robust convolutions are the four released networks by the recipe that their code trains them with."""

from pathlib import Path

import pytest

from fedward_models.backbones.robust_cnn.config import RobustCNNConfig
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.recipes import read_recipe, recipes
from fedward_models.step import Clock
from fedward_models.training.schedule import learning_rate

RECIPES = sorted(name for name in recipes() if name.startswith("robust_cnn_"))
DEPTHS = {"dw": (3, 4, 12, 3), "inverted": (3, 4, 14, 3), "up_inverted": (3, 4, 14, 3), "down_inverted": (3, 4, 15, 3)}
KERNELS = {"dw": 11, "inverted": 7, "up_inverted": 11, "down_inverted": 11}
PAGE = Path(__file__).parents[3] / "docs" / "zoo" / "robust_cnn.md"


def test_there_is_one_for_each_released_network_and_the_page_names_it() -> None:
    assert sorted(f"robust_cnn_code/{variant}" for variant in DEPTHS) == RECIPES
    assert all(f"recipe:{name}" in PAGE.read_text(encoding="utf-8") for name in RECIPES)


@pytest.mark.parametrize("variant", DEPTHS)
def test_networks_are_those_that_were_released(variant: str) -> None:
    spec = read_recipe(f"robust_cnn_code/{variant}")
    backbone = spec.backbone_of(0)
    assert isinstance(backbone, RobustCNNConfig)
    assert (backbone.variant, backbone.width, backbone.depths) == (variant, 96, DEPTHS[variant])
    assert (backbone.kernel, backbone.patch_px, backbone.strides) == (KERNELS[variant], 16, (1, 1, 1, 2))
    assert (backbone.layer_scale, backbone.drop_path, backbone.norm) == (0.0, 0.1, "batch")
    assert spec.name == f"robust-cnn-code-{variant.replace('_', '-')}"


@pytest.mark.parametrize("name", RECIPES)
def test_training_is_that_of_deit(name: str) -> None:
    spec = read_recipe(name)
    (stage,) = spec.stages
    method, local = stage.method, stage.local
    assert isinstance(method, SupervisedConfig)
    assert (method.label_smoothing, method.mixup, method.cutmix, method.mixed_parts) == (0.1, 0.8, 1.0, None)
    assert method.view is not None
    assert (method.view.crop_scale, method.view.flip, method.view.jitter) == ((0.08, 1.0), 0.5, 0.0)
    assert (stage.rounds, local.epochs, local.batch_size, local.augment) == (300, 1, 1024, False)
    optimizer = local.optimizer.model_dump()
    assert (optimizer["name"], optimizer["betas"], optimizer["weight_decay"]) == ("adamw", (0.9, 0.999), 0.05)
    rates = [
        learning_rate(local.schedule, peak=optimizer["lr"], clock=Clock(round=epoch, rounds=300, step=3, steps=9))
        for epoch in (0, 5)
    ]
    assert rates == pytest.approx([1e-6, 9.993e-4], rel=1e-4)
    assert spec.evaluate.best is None
