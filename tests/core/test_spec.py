"""The spec: checked whole, known by its digest."""

import inspect
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedward_core import spec as module
from fedward_core.cards import DataNeed
from fedward_core.config import Frozen
from fedward_core.errors import SpecError
from fedward_core.spec import Cohort, Dataset, Evaluate, Local, Schedule, Spec, Stage
from fedward_core.spec.spec import MOST_STAGES

# Any registered names serve here; "rehearsal" trains no backbone.
STAGE: dict[str, Any] = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 4}
SPEC: dict[str, Any] = {"name": "trial", "dataset": {"name": "chest-xray"}, "stages": [STAGE]}

PUBLIC = {"name": "open-chest", "sha256": "a" * 64}

# Another value for every field, by the table it stands in.
OTHER: dict[type[Frozen], dict[str, Any]] = {
    Spec: {
        "name": "other",
        "seed": 1,
        "cohort": {"min_sites": 2},
        "dataset": {"name": "other"},
        "stages": [{**STAGE, "rounds": 5}],
        "evaluate": {"every": 6},
    },
    Cohort: {
        "sites": ["north", "south", "west", "east"],
        "hold_out": ["coast"],
        "sites_per_round": 3,
        "min_sites": 2,
        "round_deadline_s": 5.0,
    },
    Dataset: {
        "name": "other",
        "kind": "report",
        "image_px": 32,
        "depth": 16,
        "spacing_mm": [3.0, 1.0, 1.0],
        "window": [-1000.0, 400.0],
        "frames": 16,
        "frame_stride": 2,
        "classes": ["a", "b"],
        "task": "multi_label",
        "label_fraction": 0.5,
        "keep_proportions": True,
        "standardisation": {"mean": 0.5, "std": 0.25},
    },
    Stage: {
        "name": "other",
        "method": "mae",
        "backbone": "vit",
        "rounds": 5,
        "label_fraction": 0.5,
        "local": {"epochs": 2},
        "personalise": "fedper",
        "aggregate": "median",
        "filters": ["bfloat16"],
    },
    Local: {
        "epochs": 2,
        "batch_size": 8,
        "threads": 2,
        "device": "cpu",
        "precision": "mixed",
        "optimizer": {"name": "adamw", "lr": 0.5},
        "optimizer_state": "reset",
        "schedule": {"warmup_rounds": 1},
        "layer_decay": 0.65,
        "clip_norm": 1.0,
        "sam_rho": 0.05,
        "terms": ["proximal"],
        "augment": True,
        "balanced": True,
    },
    Schedule: {"shape": "cosine", "warmup_rounds": 1, "first_lr": 0.1, "final_lr": 0.1, "peak_at": 0.5},
    Evaluate: {"every": 6, "split": "val", "bootstrap": 0, "best": "auroc", "keep_predictions": True, "public": PUBLIC},
}
# Fields whose other value needs a second field to make sense.
VOLUME, CLIP = {"kind": "volume", "depth": 8}, {"kind": "clip", "frames": 8}
TOGETHER: dict[str, dict[str, Any]] = {
    "final_lr": {"shape": "cosine"},
    "first_lr": {"shape": "cosine_epochs", "warmup_rounds": 1},
    "peak_at": {"shape": "cyclic"},
    "best": {"split": "val"},
    "depth": VOLUME,
    "spacing_mm": VOLUME,
    "frames": CLIP,
    "frame_stride": CLIP,
}
READS_NOTHING: dict[str, Any] = {"name": "only", "method": "rehearsal", "rounds": 4}
WITHOUT_OTHER = {(Stage, "start_from")}  # a first stage can only start from scratch; see the test of two stages


def spec_with(table: type[Frozen], values: dict[str, Any]) -> Spec:
    """The trial with these values in one of its tables."""
    stage: dict[str, Any] = {
        Stage: {**STAGE, **values},
        Local: {**STAGE, "local": values},
        Dataset: READS_NOTHING if values.get("kind") in {"volume", "clip"} else STAGE,
        Schedule: {**STAGE, "local": {"schedule": values}},
    }.get(table, STAGE)
    outer: dict[str, Any] = {
        Spec: values,
        Cohort: {"cohort": values},
        Dataset: {"dataset": {"name": "chest-xray", **values}},
        Evaluate: {"evaluate": values},
    }.get(table, {})
    return Spec.parse({**SPEC, "stages": [stage], **outer})


CHANGES = [(table, key) for table, values in OTHER.items() for key in values]


def test_every_field_has_another_value_here() -> None:
    for table, values in OTHER.items():
        known = {key for key in table.model_fields if (table, key) not in WITHOUT_OTHER}
        assert set(values) == known, table.__name__


@pytest.mark.parametrize(("table", "key"), CHANGES)
def test_every_field_changes_the_digest(table: type[Frozen], key: str) -> None:
    together = TOGETHER.get(key, {})
    before = spec_with(table, together)
    assert spec_with(table, {**together, key: OTHER[table][key]}).digest() != before.digest()


@pytest.mark.parametrize(("table", "key"), CHANGES)
def test_a_spec_survives_yaml_with_its_digest(table: type[Frozen], key: str, tmp_path: Path) -> None:
    spec = spec_with(table, {**TOGETHER.get(key, {}), key: OTHER[table][key]})
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")), encoding="utf-8")
    assert Spec.read(path) == spec
    assert Spec.read(path).digest() == spec.digest()


def test_the_digest_is_stable() -> None:
    assert Spec.parse(SPEC).digest() == Spec.parse(SPEC).digest()
    assert len(Spec.parse(SPEC).digest()) == 64


def test_a_digest_stays_the_same_from_release_to_release() -> None:
    """A run is taken up, and a consent holds, only where the spec still has the digest that it had."""
    assert Spec.parse(SPEC).digest() == "8d19b70493e17c965377a3dabd8473a7bf349f5b0f025dd29ea163835c3aa985"


@pytest.mark.parametrize("key", ["standardisation", "keep_proportions", "public"])
def test_a_key_that_came_later_leaves_digests_alone_where_it_is_not_set(key: str) -> None:
    assert key not in Spec.parse(SPEC).model_dump_json()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"evaluate": {"public": {**PUBLIC, "name": "chest-xray"}}}, "which is the dataset that the sites train on"),
        ({"evaluate": {"public": {**PUBLIC, "sha256": "short"}}}, "public.sha256"),
        ({"evaluate": {"public": PUBLIC}, "dataset": {"name": "d", "task": "segmentation"}}, "no effect"),
        ({"evaluate": {"public": PUBLIC}, "stages": [{**STAGE, "method": "mae", "backbone": "vit"}]}, "no effect"),
    ],
)
def test_a_public_dataset_that_cannot_be_predicted_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        Spec.parse({**SPEC, **changes})


def test_defaults_written_out_do_not_change_the_digest() -> None:
    written = {**SPEC, "seed": 0, "evaluate": {"every": 5}, "stages": [{**STAGE, "method": {"name": "supervised"}}]}
    assert Spec.parse(written).digest() == Spec.parse(SPEC).digest()


def test_the_order_of_keys_does_not_change_the_digest() -> None:
    assert Spec.parse(dict(reversed(SPEC.items()))).digest() == Spec.parse(SPEC).digest()


def test_the_example_of_the_module_parses() -> None:
    example = inspect.cleandoc(module.__doc__ or "").split("\n\n")[1]
    spec = Spec.parse(yaml.safe_load(textwrap.dedent(example)))
    assert [stage.name for stage in spec.stages] == ["pretrain", "finetune"]
    assert spec.backbone_of(1) == spec.backbone_of(0)
    assert spec.backbone_of(0) is not None


def refused(values: Any) -> str:
    with pytest.raises(SpecError) as caught:
        Spec.parse(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("place", "values", "nearest"),
    [
        ("spec", {**SPEC, "sead": 1}, "seed"),
        ("cohort", {**SPEC, "cohort": {"min_site": 2}}, "min_sites"),
        ("dataset", {**SPEC, "dataset": {"name": "x", "imagepx": 32}}, "image_px"),
        ("stages.0", {**SPEC, "stages": [{**STAGE, "agregate": "median"}]}, "aggregate"),
        ("stages.0.method", {**SPEC, "stages": [{**STAGE, "method": "supervized"}]}, "supervised"),
        ("stages.0.local", {**SPEC, "stages": [{**STAGE, "local": {"epoch": 2}}]}, "epochs"),
    ],
)
def test_an_unknown_key_names_its_place_and_the_nearest_key(place: str, values: Any, nearest: str) -> None:
    message = refused(values)
    assert f"  {place}: unknown " in message
    assert f"Did you mean '{nearest}'?" in message


@pytest.mark.parametrize("name", ["", "x" * 256, "one line\nanother", "a\0"])
def test_a_name_of_a_dataset_that_no_folder_can_have_is_refused(name: str) -> None:
    assert "dataset.name" in refused({**SPEC, "dataset": {"name": name}})
    Spec.parse({**SPEC, "dataset": {"name": "Thorax Röntgen 2.0"}})


def test_an_unknown_key_of_a_choice_names_the_nearest() -> None:
    message = refused({**SPEC, "stages": [{**STAGE, "aggregate": {"name": "fedavgm", "momentun": 0.5}}]})
    assert "Did you mean 'momentum'?" in message


def test_a_wrong_stage_is_not_told_again_as_one_too_few() -> None:
    message = refused({**SPEC, "stages": [{**STAGE, "ronds": 3}]})
    assert "Did you mean 'rounds'" in message
    assert "at least 1 item" not in message
    assert "at least 1 item" in refused({**SPEC, "stages": []})


def test_more_stages_than_anybody_needs_are_refused_before_they_are_compared() -> None:
    stages = [{**STAGE, "name": f"s{number}"} for number in range(MOST_STAGES + 1)]
    assert len(Spec.parse({**SPEC, "stages": stages[:-1]}).stages) == MOST_STAGES
    assert f"stages: Tuple should have at most {MOST_STAGES} items" in refused({**SPEC, "stages": stages})


def test_all_faults_are_listed_at_once() -> None:
    message = refused({**SPEC, "seed": -1, "stages": [{**STAGE, "rounds": 0}]})
    assert "  seed: " in message
    assert "  stages.0.rounds: " in message


@pytest.mark.parametrize("values", [None, [], "text", 3, {}, {"name": "x"}])
def test_what_is_no_spec_is_refused(values: Any) -> None:
    assert refused(values).startswith("the spec is wrong:")


SECOND: dict[str, Any] = {"name": "second", "method": "supervised", "start_from": "previous", "rounds": 2}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([SECOND], "stage 'second' is the first: it has no previous stage"),
        ([STAGE, {**SECOND, "backbone": "vit"}], "inherits its backbone: leave 'backbone' out"),
        ([STAGE, {**SECOND, "backbone": "sts_resnet"}], "a backbone that the previous one does not have"),
        ([{key: value for key, value in STAGE.items() if key != "backbone"}], "needs a 'backbone'"),
        ([{**STAGE, "method": "rehearsal"}], "trains no backbone: leave 'backbone' out"),
        ([STAGE, {**SECOND, "name": "only"}], "stages need names of their own, found only, only"),
        ([{**STAGE, "local": {"schedule": {"warmup_rounds": 5}}}], "warms up for 5.0 of 4 rounds"),
        ([], "stages"),
    ],
)
def test_stages_that_contradict_themselves_are_refused(stages: list[Any], message: str) -> None:
    assert message in refused({**SPEC, "stages": stages})


@pytest.mark.parametrize("name", ["", "Upper", "two words", "../up", "a/b", "a\n", "-a", "_a", "ä", "a" * 101])
def test_a_name_that_could_not_be_a_folder_is_refused(name: str) -> None:
    assert "  name: " in refused({**SPEC, "name": name})
    assert "  stages.0.name: " in refused({**SPEC, "stages": [{**STAGE, "name": name}]})


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_a_device_is_known_by_its_whole_name(device: str) -> None:
    spec_with(Local, {"device": device})
    assert "  stages.0.local.device: " in refused({**SPEC, "stages": [{**STAGE, "local": {"device": f"my{device}x"}}]})


def test_a_final_rate_without_a_cosine_has_no_effect_and_is_refused() -> None:
    assert "final_lr has no effect" in refused(
        {**SPEC, "stages": [{**STAGE, "local": {"schedule": {"final_lr": 0.1}}}]}
    )


def test_a_first_rate_without_a_warm_up_has_no_effect_and_is_refused() -> None:
    schedule = {"shape": "cosine_epochs", "first_lr": 0.1}
    assert "first_lr has no effect without" in refused({**SPEC, "stages": [{**STAGE, "local": {"schedule": schedule}}]})


@pytest.mark.parametrize(
    ("table", "key", "names"),
    [
        ("cohort", "sites", ["a", "b", "a"]),
        ("cohort", "hold_out", ["a", "a"]),
        ("dataset", "classes", ["normal", "covid", "normal"]),
    ],
)
def test_a_name_that_stands_twice_is_refused(table: str, key: str, names: list[str]) -> None:
    values = {**SPEC, table: {**SPEC.get(table, {}), key: names}}
    assert f"  {table}: {key} names " in refused(values)
    assert f"twice, found {', '.join(names)}" in refused(values)


def test_a_second_compressing_filter_has_no_effect_and_is_refused() -> None:
    assert "choose one" in refused({**SPEC, "stages": [{**STAGE, "filters": ["bfloat16", "delta_8bit"]}]})


def test_a_quorum_that_the_named_sites_cannot_reach_is_refused() -> None:
    assert "min_sites is 3" in refused({**SPEC, "cohort": {"sites": ["north", "south"], "min_sites": 3}})


@pytest.mark.parametrize("cohort", [{"sites": ["a", "b", "c", "d"]}, {"sites_per_round": 4}])
def test_a_rule_that_needs_more_sites_than_train_is_refused(cohort: dict[str, Any]) -> None:
    def spec(trim: float) -> dict[str, Any]:
        return {**SPEC, "cohort": cohort, "stages": [{**STAGE, "aggregate": {"name": "trimmed_mean", "trim": trim}}]}

    assert "stage 'only': aggregate 'trimmed_mean' with these settings needs the updates of 5 sites" in refused(
        spec(0.2)
    )
    Spec.parse(spec(0.25))


def test_a_label_fraction_without_labels_has_no_effect_and_is_refused() -> None:
    values = {**SPEC, "stages": [{**STAGE, "method": "mae", "backbone": "vit"}]}
    Spec.parse(values)
    assert "label_fraction has no effect" in refused({**values, "dataset": {"name": "x", "label_fraction": 0.5}})


def test_a_stage_may_use_another_part_of_the_labels_and_says_so_only_then() -> None:
    assert "label_fraction" not in Spec.parse(SPEC).stages[0].model_dump()
    assert Spec.parse({**SPEC, "stages": [{**STAGE, "label_fraction": 0.1}]}).stages[0].label_fraction == 0.1
    without = {**STAGE, "method": "mae", "backbone": "vit", "label_fraction": 0.1}
    assert "reads no labels, so that label_fraction has no effect" in refused({**SPEC, "stages": [without]})


def test_a_label_fraction_that_every_stage_replaces_has_no_effect_and_is_refused() -> None:
    tenth, rest = {**STAGE, "label_fraction": 0.1}, {**STAGE, "name": "other"}
    values = {**SPEC, "dataset": {"name": "x", "label_fraction": 0.5}}
    Spec.parse({**values, "stages": [tenth, rest]})
    assert "label_fraction has no effect" in refused({**values, "stages": [tenth]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "volume"}, "kind 'volume' needs 'depth'"),
        ({"kind": "clip"}, "kind 'clip' needs 'frames'"),
        ({"depth": 8}, "depth has no effect with kind 'image': leave it out, or set kind: volume"),
        ({**CLIP, "spacing_mm": [1, 1, 1]}, "spacing_mm has no effect with kind 'clip'"),
        ({"frames": 8}, "frames has no effect with kind 'image'"),
        ({**VOLUME, "frame_stride": 2}, "frame_stride has no effect with kind 'volume'"),
        ({"window": [3, 3]}, "expected the value of black below that of white"),
        ({**CLIP, "task": "segmentation"}, "task 'segmentation' is for images and volumes, found kind 'clip'"),
        ({**VOLUME, "keep_proportions": True}, "keep_proportions is for images and has no effect with kind 'volume'"),
        ({**CLIP, "keep_proportions": True}, "has no effect with kind 'clip'"),
        ({**VOLUME, "spacing_mm": [1, 0, 1]}, "dataset.spacing_mm.1"),
    ],
)
def test_settings_of_another_kind_of_data_are_refused(values: dict[str, Any], message: str) -> None:
    assert message in refused({**SPEC, "dataset": {"name": "x", **values}, "stages": [READS_NOTHING]})


@pytest.mark.parametrize(("values", "kind"), [(VOLUME, "volume"), (CLIP, "clip")])
def test_data_that_a_stage_cannot_read_is_refused_with_what_would_fit(values: dict[str, Any], kind: str) -> None:
    message = refused({**SPEC, "dataset": {"name": "x", **values}})
    assert f"stage 'only' reads images, but dataset.kind is '{kind}'" in message
    assert "a dataset of kind image or report" in message


def test_a_method_of_images_reads_what_its_backbone_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = type(Spec.parse(SPEC).backbone_of(0))
    monkeypatch.setattr(backbone, "need", DataNeed.VOLUME)
    assert Spec.parse({**SPEC, "dataset": {"name": "x", **VOLUME}}).need_of(0) is DataNeed.VOLUME
    assert "reads volumes, but dataset.kind is 'image'" in refused(SPEC)


def test_a_method_that_reads_no_data_fits_every_kind() -> None:
    spec = Spec.parse({**SPEC, "dataset": {"name": "x", **CLIP}, "stages": [READS_NOTHING]})
    assert spec.need_of(0) is None


def test_a_later_stage_takes_over_the_backbone_of_the_last_one_that_names_it() -> None:
    spec = Spec.parse({**SPEC, "stages": [STAGE, SECOND, {**SECOND, "name": "third"}]})
    assert spec.backbone_of(2) is spec.stages[0].backbone
    assert Spec.parse({**SPEC, "stages": [STAGE, SECOND]}).digest() != Spec.parse(SPEC).digest()


def test_nothing_is_private_unless_asked() -> None:
    stage = Spec.parse(SPEC).stages[0]
    assert stage.share_at(0) == Fraction(0)
    personal = Spec.parse({**SPEC, "stages": [{**STAGE, "personalise": "local_only"}]}).stages[0]
    assert personal.share_at(0) == Fraction(1)


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=r"cannot read the spec 'spec\.yaml'") as caught:
        Spec.read(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_fault_of_yaml_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: trial\nstages: [\n")
    with pytest.raises(SpecError, match=r'in "spec\.yaml", line 3'):
        Spec.read(path)


def test_a_method_of_views_cannot_read_through_a_backbone_of_volumes() -> None:
    stage = {"name": "only", "method": "sdmp", "backbone": "minit", "rounds": 1}
    with pytest.raises(SpecError, match="its backbone reads volumes"):
        Spec.parse({"name": "trial", "dataset": {"name": "any"}, "stages": [stage]})


def test_classes_cannot_be_balanced_where_no_label_is_read() -> None:
    stage = {"name": "only", "method": "mae", "backbone": "vit", "rounds": 1, "local": {"balanced": True}}
    with pytest.raises(SpecError, match=r"local\.balanced draws by them"):
        Spec.parse({"name": "trial", "dataset": {"name": "any"}, "stages": [stage]})


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("", "spec", "expected a table"),
        ("- name: trial", "spec", "expected a table"),
        ("{name: trial, dataset: chest, stages: []}", "dataset", "expected a table"),
        (
            "{name: trial, dataset: {name: chest}, stages: {name: a}}",
            "stages",
            "expected a list: each entry behind a '-'",
        ),
        ("{name: trial, dataset: {name: chest}}", "stages", "this key is needed"),
    ],
)
def test_what_yaml_made_of_a_slip_is_told_in_words_of_yaml(
    text: str, place: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "slip.yaml").write_text(text)
    with pytest.raises(SpecError, match=rf"\n  {place}: {expected}"):
        Spec.read(tmp_path / "slip.yaml")
