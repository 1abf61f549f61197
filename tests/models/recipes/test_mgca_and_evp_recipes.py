"""The recipes of MGCA, EVP and what they are compared with are the published settings."""

from pathlib import Path
from typing import Any

import pytest

from fedward_core.spec import Spec
from fedward_models.recipes import read_recipe, recipes

RECIPES = sorted(name for name in recipes() if name.startswith(("mgca_", "evp_")))
# Rounds, batch, rate.
TRAINING = {
    "mgca_code/vit_b": (50, 72, 2e-5),
    "mgca_code/resnet_50": (50, 72, 2e-5),
    "mgca_code/chexpert_linear": (50, 48, 5e-4),
    "mgca_code/siim_segmentation": (50, 8, 5e-4),
    "evp_code/clip_vit_b32": (1000, 256, 70),
    "evp_code/resnet_50": (1000, 256, 70),
    "evp_code/vp_clip_vit_b32": (1000, 256, 40),
    "evp_code/linear_clip_vit_b32": (100, 256, 1e-3),
}
every_recipe = pytest.mark.parametrize("name", RECIPES)


def method_of(name: str) -> dict[str, Any]:
    return read_recipe(name).stages[0].method.model_dump()


@every_recipe
def test_training_is_that_of_the_table(name: str) -> None:
    (stage,) = read_recipe(name).stages
    assert (stage.rounds, stage.local.batch_size, stage.local.optimizer.model_dump()["lr"]) == TRAINING[name]
    assert stage.local.epochs == 1


def test_every_recipe_is_in_the_table() -> None:
    assert set(RECIPES) == set(TRAINING)


@every_recipe
def test_a_recipe_is_named_after_its_file_and_selects_nothing_on_the_test_split(name: str) -> None:
    spec = read_recipe(name)
    assert spec.name == name.replace("/", "-").replace("_", "-")
    assert spec.evaluate.best is None or spec.evaluate.split == "val"


@pytest.mark.parametrize("name", ["mgca_code/vit_b", "mgca_code/resnet_50"])
def test_pre_training_of_mgca_has_the_published_sizes_weights_and_temperatures(name: str) -> None:
    method = method_of(name)
    assert (method["hidden"], method["width"], method["prototypes"]) == (2048, 128, 500)
    assert [method[f"{part}_weight"] for part in ("pair", "token", "prototype")] == [1, 1, 1]
    assert [method[f"{part}_temperature"] for part in ("pair", "token", "prototype")] == [0.07, 0.1, 0.2]
    assert (method["epsilon"], method["balancing_rounds"], method["freeze_prototypes_epochs"]) == (0.05, 3, 1)
    text = method["text"]
    assert (text["width"], text["depth"], text["heads"], text["max_tokens"], text["dropout"]) == (768, 6, 12, 112, 0.1)
    schedule = read_recipe(name).stages[0].local.schedule
    assert (schedule.warmup_rounds, schedule.final_lr) == (20, 1e-8)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("mgca")])
def test_pixels_of_mgca_lie_between_minus_and_plus_1(name: str) -> None:
    scale = read_recipe(name).dataset.standardisation
    assert scale is not None
    assert [(pixel - scale.mean) / scale.std for pixel in (0, 1)] == [-1, 1]


def test_prompts_have_the_published_border_and_start() -> None:
    evp, vp = method_of("evp_code/clip_vit_b32"), method_of("evp_code/vp_clip_vit_b32")
    assert (evp["image_px"], evp["initial"], evp["placement"]) == (164, "zeros", "surround")
    assert (vp["image_px"], vp["initial"], vp["placement"]) == (164, "normal", "overlay")
    assert (evp["normalise_gradient"], vp["normalise_gradient"]) == (True, False)


@pytest.mark.parametrize("method", ["mgca", "evp"])
def test_the_page_of_a_method_names_its_recipes(method: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "zoo" / f"{method}.md").read_text(encoding="utf-8")
    for name in (name for name in RECIPES if name.startswith(method)):
        assert f"recipe:{name}" in page


def test_the_downstream_example_takes_less_of_the_labels_for_each_stage_on_its_own() -> None:
    spec = Spec.read(Path(__file__).parents[3] / "examples" / "zoo" / "mgca_downstream.yaml")
    assert [stage.label_fraction for stage in spec.stages] == [None, 0.1, None, 0.1]
