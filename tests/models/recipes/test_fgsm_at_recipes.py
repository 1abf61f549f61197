"""The recipes of fast adversarial training: one trick at a time, and what the baselines' codes run."""

from typing import Any

import pytest

from fedward_models.recipes import read_recipe, recipes

# Which settings a recipe of tricks has beside those of the plain one.
TRICKS: dict[str, set[str]] = {
    "plain": set(),
    "mask": {"mask_ratio"},
    "stride": {"stem_stride"},
    "smooth": {"activation"},
    "first_layer": {"first_layer_penalty"},
    "mask_smooth": {"mask_ratio", "activation"},
    "stride_smooth": {"stem_stride", "activation"},
    "all": {"mask_ratio", "first_layer_penalty", "stem_stride", "activation"},
}
# Attack, step over radius, rate, epochs, where the rate peaks, momentum there, final norm, rule for ties.
CODES = {
    "wong_fgsm_rs": ("fgsm_rs", 1.25, 0.2, 15, 0.5, 0.8, True, "pass"),
    "wong_free": ("free", 1.0, 0.04, 12, 0.5, 0.8, True, "pass"),
    "tml_fgsm_rs": ("fgsm_rs", 1.25, 0.2, 30, 0.4, None, False, "zero"),
    "tml_pgd_10": ("pgd", 0.2, 0.2, 30, 0.4, None, False, "zero"),
    "grad_align": ("fgsm", 1.0, 0.3, 30, 0.4, None, False, "zero"),
}


def method_of(name: str) -> Any:
    return read_recipe(name).stages[0].method


def settings_of(name: str) -> dict[str, Any]:
    stage = read_recipe(name).stages[0]
    assert stage.backbone
    return {**stage.method.model_dump(), **stage.backbone.model_dump(), "local": stage.local}


def test_every_recipe_is_in_a_table() -> None:
    found = {name for name in recipes() if name.startswith("fgsm_at")}
    assert found == {f"fgsm_at_tricks/{name}" for name in TRICKS} | {f"fgsm_at_code/{name}" for name in CODES}


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_changes_its_own_settings_and_no_other(name: str) -> None:
    plain, tricked = (settings_of(f"fgsm_at_tricks/{which}") for which in ("plain", name))
    assert {key for key, value in tricked.items() if value != plain[key]} == TRICKS[name]
    assert (plain["mask_ratio"], plain["first_layer_penalty"], plain["stem_stride"], plain["activation"]) == (
        0, 0, 1, "relu",
    )  # fmt: skip


@pytest.mark.parametrize("name", CODES)
def test_a_baseline_is_that_of_its_code(name: str) -> None:
    stage, method = read_recipe(f"fgsm_at_code/{name}").stages[0], method_of(f"fgsm_at_code/{name}")
    optimizer, settings = stage.local.optimizer.model_dump(), settings_of(f"fgsm_at_code/{name}")
    found = (
        method.attack,
        method.step / method.epsilon,
        optimizer["lr"],
        stage.rounds,
        stage.local.schedule.peak_at,
        optimizer["peak_momentum"],
        settings["final_norm"],
        method.ties,
    )
    assert found == pytest.approx(CODES[name])
    assert (method.mask_ratio, method.first_layer_penalty) == (0, 0)
    assert method.grad_align == ("published" if name == "grad_align" else 0)


@pytest.mark.parametrize("name", [name for name in recipes() if name.startswith("fgsm_at")])
def test_all_have_the_published_radius_decay_batch_and_evaluation(name: str) -> None:
    spec, method = read_recipe(name), method_of(name)
    stage = spec.stages[0]
    optimizer = stage.local.optimizer.model_dump()
    assert method.epsilon == pytest.approx(8 / 255)
    assert (method.evaluation_steps, method.evaluation_restarts) == (50, 10)
    assert (optimizer["momentum"], optimizer["weight_decay"], stage.local.batch_size) == (0.9, 5e-4, 128)
    assert spec.evaluate.every == stage.rounds
    assert spec.name == name.replace("/", "-").replace("_", "-")
    assert "commit" in recipes()[name].read_text(encoding="utf-8").split("name:")[0]
