"""The recipes of SSL-FL are the published tables, and the two kinds are never mixed."""

import subprocess
import sys

import pytest

from fedward_core.errors import SpecError
from fedward_core.spec import Stage
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.recipes import read_recipe, recipes

# SSL-FL, Sec. 5.1: rounds, batch, rate, final rate, warm-up, mask ratio, clipping.
PRE_TRAINING = {
    "ssl_fl_code/retina_beit": (1000, 256, 2e-3, 1e-5, 10, 0.5, 3.0),
    "ssl_fl_code/derm_beit": (1000, 256, 2e-3, 1e-5, 10, 0.38, 3.0),
    "ssl_fl_code/covid_fl_beit": (1000, 64, 1.5e-3, 1e-5, 10, 0.38, 3.0),
    "ssl_fl_code/retina_mae": (1600, 128, 1.0e-3, 0, 40, 0.6, None),
    "ssl_fl_code/derm_mae": (1600, 128, 7.5e-4, 0, 40, 0.6, None),
    "ssl_fl_code/covid_fl_mae": (1600, 64, 3.75e-4, 0, 40, 0.3, None),
    "ssl_fl_paper/retina_mae": (1600, 128, 1.0e-3, 0, 5, 0.6, None),
    "ssl_fl_paper/derm_mae": (1600, 128, 7.5e-4, 0, 5, 0.6, None),
    "ssl_fl_paper/covid_fl_mae": (1600, 64, 3.75e-4, 0, 5, 0.3, None),
}
# SSL-FL, Sec. 5.2: batch, rate.
FINE_TUNING = {
    "retina_beit": (256, 3e-3),
    "derm_beit": (256, 3e-3),
    "covid_fl_beit": (64, 3e-3),
    "retina_mae": (256, 3e-3),
    "derm_mae": (128, 7.5e-4),
    "covid_fl_mae": (64, 7.5e-4),
}
# SSL-FL, Sec. 5.3: crops, brightness with contrast, saturation and hue, and the probability of grey.
VIEWS = {
    ("retina", "beit"): ((0.2, 1.0), (0.4, 0.4, 0.4, 0), 0.2),
    ("derm", "beit"): ((0.2, 1.0), (0.4, 0.4, 0.4, 0), 0),
    ("covid_fl", "beit"): ((0.4, 1.0), (0, 0, 0.05, 0.05), 0),
    ("retina", "mae"): ((0.2, 1.0), (0.4, 0.4, 0.4, 0), 0.2),
    ("derm", "mae"): ((0.2, 1.0), (0.1, 0.1, 0.1, 0), 0.2),
    ("covid_fl", "mae"): ((0.4, 1.0), (0, 0, 0.05, 0.05), 0),
}
every_recipe = pytest.mark.parametrize("name", PRE_TRAINING)


def rate_of(stage: Stage) -> float:
    return float(stage.local.optimizer.model_dump()["lr"])


def test_every_recipe_is_in_the_table() -> None:
    assert {name for name in recipes() if name.startswith("ssl_fl")} == set(PRE_TRAINING)


@every_recipe
def test_pre_training_is_that_of_the_table(name: str) -> None:
    stage = read_recipe(name).stages[0]
    local = stage.local
    found = (
        stage.rounds,
        local.batch_size,
        rate_of(stage),
        local.schedule.final_lr,
        local.schedule.warmup_rounds,
        stage.method.model_dump()["mask_ratio"],
        local.clip_norm,
    )
    assert found == PRE_TRAINING[name]
    assert (local.epochs, local.optimizer_state, local.layer_decay) == (1, "keep", 1.0)
    assert local.optimizer.model_dump()["weight_decay"] == 0.05
    assert (local.precision, stage.aggregate.name, stage.personalise) == ("mixed", "weighted_mean", None)


@every_recipe
def test_what_is_pre_trained_beside_the_encoder_is_as_published(name: str) -> None:
    """SSL-FL, Sec. 2.1, 2.2 and 5.1: Fed-MAE's decoder and targets, Fed-BEiT's drop-path, betas and last rates."""
    local, method = read_recipe(name).stages[0].local, read_recipe(name).stages[0].method.model_dump()
    if name.endswith("_mae"):
        decoder = [method[f"decoder_{size}"] for size in ("width", "depth", "heads")]
        assert (decoder, method["norm_pixels"], local.schedule.shape) == ([512, 8, 16], True, "cosine")
    else:
        assert (method["drop_path"], local.optimizer.model_dump()["betas"]) == (0.1, (0.9, 0.999))
        assert local.schedule.shape == "cosine_table"


@every_recipe
def test_views_are_those_of_the_table(name: str) -> None:
    """SSL-FL, Sec. 5.3."""
    data, kind = name.split("/")[1].rsplit("_", 1)
    first, second = (
        ViewSettings.model_validate(stage.method.model_dump()["view"]) for stage in read_recipe(name).stages
    )
    jittered = (first.brightness, first.contrast, first.saturation, first.hue)
    assert (first.crop_scale, jittered, first.grey) == VIEWS[data, kind]
    assert (first.jitter, first.rotation_deg) == (1, 0)
    assert second.crop_scale == ((0.8, 1.0) if data == "covid_fl" else (0.6, 1.0))
    assert (second.rotation_deg, second.jitter, second.grey) == (10, 0, 0)
    for view in (first, second):
        assert (view.crop_ratio, view.flip, view.blur, view.solarise) == ((3 / 4, 4 / 3), 0.5, 0, 0)


@every_recipe
def test_every_site_takes_part_in_every_round(name: str) -> None:
    """SSL-FL, Sec. 4: five sites of Retina and Derm, twelve of COVID-FL."""
    cohort = read_recipe(name).cohort
    assert (cohort.min_sites, cohort.sites_per_round) == (12 if "covid_fl" in name else 5, None)


@every_recipe
def test_fine_tuning_is_that_of_the_table(name: str) -> None:
    stage = read_recipe(name).stages[1]
    mae = name.endswith("_mae")
    settings, local = stage.method.model_dump(), stage.local
    assert (local.batch_size, rate_of(stage)) == FINE_TUNING[name.split("/")[1]]
    assert (stage.rounds, local.layer_decay, local.schedule.warmup_rounds) == (100, 0.65, 5)
    assert local.schedule.final_lr == 1e-6
    assert local.optimizer.model_dump()["betas"] == (0.9, 0.999)
    assert local.clip_norm == (None if mae else 3.0)
    mixing = (settings["label_smoothing"], settings["mixup"], settings["cutmix"])
    assert mixing == ((0.1, 0.8, 1.0) if mae else (0.1, 0, 0))


@every_recipe
def test_networks_are_of_the_published_size(name: str) -> None:
    backbone = read_recipe(name).backbone_of(1)
    assert backbone is not None
    sizes = backbone.model_dump()
    assert [sizes[key] for key in ("width", "depth", "heads", "patch_px")] == [768, 12, 12, 16]
    assert sizes["drop_path"] == (0.1 if name.endswith("_mae") else 0.2)


@pytest.mark.parametrize(("kind", "second_moment"), [("ssl_fl_code", 0.95), ("ssl_fl_paper", 0.999)])
def test_code_and_paper_differ_where_they_are_reported_to(kind: str, second_moment: float) -> None:
    for data in ("retina", "derm", "covid_fl"):
        optimizer = read_recipe(f"{kind}/{data}_mae").stages[0].local.optimizer
        assert optimizer.model_dump()["betas"] == (0.9, second_moment)


def test_fine_tuning_reads_the_test_split_once_at_its_end_and_nothing_is_selected() -> None:
    """SSL-FL, Sec. 9, check 18."""
    for name in PRE_TRAINING:
        spec = read_recipe(name)
        assert spec.evaluate.every == spec.stages[1].rounds
        assert spec.evaluate.best is None


@every_recipe
def test_a_recipe_says_what_it_is(name: str) -> None:
    text = recipes()[name].read_text(encoding="utf-8")
    assert text.startswith("# Fed-")
    assert read_recipe(name).name == name.replace("/", "-").replace("_", "-")


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="Did you mean 'ssl_fl_paper/retina_mae'"):
        read_recipe("ssl_fl_paper/retina_maee")


def test_recipes_are_read_without_torch() -> None:
    code = "import sys; from fedward_models.recipes import read_recipe; read_recipe('ssl_fl_code/retina_beit')"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)
