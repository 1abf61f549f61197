"""A finished model can be taken home: complete, equal to the trained one, and honest about what it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from fedward_cli.main import app
from fedward_client.private_store import FilePrivateStore
from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.cards import Split
from fedward_core.errors import CheckpointError
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_models.data import open_split
from fedward_models.export.facts import SMALLEST_COUNT
from fedward_models.export.network import check_equal, examples
from fedward_models.inference.finished_model import open_finished
from fedward_models.programs.program import open_program

VIT = {"name": "vit", "width": 16, "depth": 1, "heads": 2, "patch_px": 8}
BACKBONES: dict[str, dict[str, Any]] = {
    "a transformer": VIT,
    "a small network": {"name": "small_cnn", "widths": [8], "hidden": []},
    "a residual network": {"name": "preact_resnet", "width": 4},
}

# What a stranger does: no module of Fedward can be imported.
STRANGER = """
import sys
for name in ("core", "models", "client", "server", "cli"):
    sys.modules[f"fedward_{name}"] = None
import numpy as np
images = np.load(sys.argv[2])
"""
BY_ONNX_RUNTIME = """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", providers=["CPUExecutionProvider"])
found = session.run(["probabilities"], {"images": images})[0]
np.save(sys.argv[3], found)
"""
BY_MONAI = """
import torch
from monai.bundle import ConfigParser
parser = ConfigParser()
parser.read_config(sys.argv[1] + "/configs/inference.json")
parser.read_meta(sys.argv[1] + "/configs/metadata.json")
parser["bundle_root"] = sys.argv[1]
network = parser.get_parsed_content("network")
with torch.no_grad():
    np.save(sys.argv[3], network(torch.from_numpy(images)).numpy())
"""
BY_MONAI_FROM_FILES = """
from monai.bundle import ConfigWorkflow
workflow = ConfigWorkflow(
    config_file=sys.argv[1] + "/configs/inference.json", meta_file=sys.argv[1] + "/configs/metadata.json",
    logging_file=False, bundle_root=sys.argv[1], workflow_type="inference",
)
workflow.run()
"""


def export(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["zoo", "export", *map(str, arguments)])


def as_a_stranger(program: str, *arguments: object) -> None:
    command = [sys.executable, "-c", STRANGER + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_numbers_are_taken_home_whole_with_a_description_and_a_card(trained: Any, tmp_path: Path) -> None:
    run, out = trained(), tmp_path / "home"
    assert export(run, "--format", "safetensors", "--out", out).exit_code == 0
    expected = open_finished(run).method.state_dict()
    found = load_file(out / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    description = json.loads((out / "model.json").read_text())
    assert description["input"]["shape"] == ["batch", 1, 16, 16]
    assert description["output"]["classes"] == ["normal", "pneumonia", "effusion"]
    assert description["standardisation"] is None
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "model.json", "model.safetensors"]


def test_the_card_tells_counts_and_intervals_and_no_names_of_sites(trained: Any, tmp_path: Path) -> None:
    run = trained()
    export(run, "--format", "safetensors", "--out", tmp_path / "home")
    card = (tmp_path / "home" / "README.md").read_text()
    spec = open_finished(run).spec
    assert spec.digest() in card
    assert "| sites | 3 |" in card
    assert "no medical device" in card
    assert not any(site in card for site in ("hill", "north", "river"))


def test_the_card_leaves_out_sites_with_few_images(trained: Any, tmp_path: Path) -> None:
    run = copied(trained(), tmp_path)
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    values = iter(((0.9, SMALLEST_COUNT - 1), (0.5, SMALLEST_COUNT), (0.7, 20)))
    for line in lines:
        if line["kind"] == "evaluated":
            value, n = next(values)
            line["facts"]["metrics"] = {"auroc": {"value": value, "n": n, "low": value, "high": value}}
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    export(run, "--format", "safetensors", "--out", tmp_path / "home")
    card = (tmp_path / "home" / "README.md").read_text()
    assert "| auroc | 0.600 | 0.500 [0.500, 0.500] n=5 | 0.700 [0.700, 0.700] n=20 | 2 | 25 |" in card


def test_pixels_are_standardised_as_a_site_says(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    run, out = trained(), tmp_path / "home"
    assert export(run, "--format", "safetensors", "--out", out, "--data", hospitals, "--site", "hill").exit_code == 0
    images = open_split(hospitals, "hill", open_finished(run).spec.dataset, Split.TRAIN)
    scale = json.loads((out / "model.json").read_text())["standardisation"]
    assert scale == {"mean": images.mean, "std": images.std}
    assert export(run, "--format", "safetensors", "--out", tmp_path / "b", "--data", hospitals).exit_code == 2


@pytest.mark.parametrize("method", ["supervised", "mae"])
def test_a_model_that_was_never_trained_stays(trained: Any, tmp_path: Path, method: str) -> None:
    run = copied(trained(method=method, **VIT), tmp_path)
    path = run / "stages" / "train" / "final.safetensors"
    _, facts = read_arrays(path)
    plan, initial = open_program(Spec.read(run / "spec.yaml"), 0).plan(StagePlan(**facts["plan"]).contract, None)
    write_arrays(path, initial, {"plan": plan.model_dump(mode="json")})
    found = export(run, "--format", "safetensors", "--out", tmp_path / "home")
    assert found.exit_code == 1
    assert "never trained" in " ".join(found.output.split())
    assert not (tmp_path / "home").exists()


def test_numbers_that_no_stage_has_written_are_refused(trained: Any, tmp_path: Path) -> None:
    path = copied(trained(), tmp_path) / "stages" / "train" / "final.safetensors"
    arrays, _ = read_arrays(path)
    write_arrays(path, arrays, {"round": 3})
    with pytest.raises(CheckpointError, match="does not say which model its numbers are of"):
        open_finished(tmp_path / "run")


def test_the_best_weights_are_opened_where_they_are_asked_for(trained: Any, tmp_path: Path) -> None:
    final = (run := copied(trained(), tmp_path)) / "stages" / "train" / "final.safetensors"
    arrays, facts = read_arrays(final)
    facts["best"] = {"metric": "accuracy", "value": 0.5, "round": 0}
    write_arrays(final.with_name("best.safetensors"), {**arrays, "head.bias": arrays["head.bias"] + 1}, facts)
    last, best = (
        open_finished(run, weights=weights).method.get_parameter("head.bias") for weights in ("final", "best")
    )
    assert torch.equal(best, last + 1)


def test_the_best_weights_of_branches_keep_what_was_shared_in_their_round(trained: Any, tmp_path: Path) -> None:
    """As the share grows, weights come to lie between the halves, and are used no more; in that round they were."""
    decoupled = {"name": "channel_decoupling", "coupling": "branch", "ramp_rounds": 0}
    run = copied(trained(personalise=decoupled, name="small_cnn", widths=[4, 4], hidden=[]), tmp_path)
    written = (run / "spec.yaml").read_text()
    longer = written.replace("rounds: 1\n", "rounds: 4\n").replace("ramp_rounds: 0", "ramp_rounds: 3")
    (run / "spec.yaml").write_text(longer)
    final = run / "stages" / "train" / "final.safetensors"
    arrays, facts = read_arrays(final)
    moved = {name: array + 1 for name, array in arrays.items()}
    facts["best"] = {"metric": "accuracy", "value": 0.5, "round": 0}
    for weights in ("final", "best"):
        write_arrays(final.with_name(f"{weights}.safetensors"), moved, facts)
    partition = StagePlan.model_validate(facts["plan"]).partition(Spec.read(run / "spec.yaml").stages[0].share_at(3))
    crossing = {name: mask for name in moved if (mask := partition.crossing_mask(name)) is not None}
    assert any(mask.any() for mask in crossing.values())
    last, best = (open_finished(run, weights=weights).method.state_dict() for weights in ("final", "best"))
    for name, mask in crossing.items():
        np.testing.assert_array_equal(best[name].numpy(), moved[name])
        np.testing.assert_array_equal(last[name].numpy(), np.where(mask, 0, moved[name]))


def test_best_weights_that_do_not_say_their_round_are_refused(trained: Any, tmp_path: Path) -> None:
    final = (run := copied(trained(), tmp_path)) / "stages" / "train" / "final.safetensors"
    write_arrays(final.with_name("best.safetensors"), *read_arrays(final))
    with pytest.raises(CheckpointError, match="does not say after which round its numbers were the best"):
        open_finished(run, weights="best")


def test_a_stage_without_labels_is_no_classifier_but_its_numbers_may_go(trained: Any, tmp_path: Path) -> None:
    run = trained(method="mae", **VIT)
    refused = export(run, "--format", "onnx", "--out", tmp_path / "home")
    assert refused.exit_code == 1
    assert "names no classes" in " ".join(refused.output.split())
    assert not list(tmp_path.iterdir())
    assert export(run, "--format", "safetensors", "--out", tmp_path / "home").exit_code == 0
    assert "names no classes by itself" in (tmp_path / "home" / "README.md").read_text()


def test_an_unpacked_download_of_a_coordinator_is_as_good_as_the_folder_of_a_run(trained: Any, tmp_path: Path) -> None:
    run = copied(trained(), tmp_path)
    (run / "spec.json").write_text(Spec.read(run / "spec.yaml").model_dump_json())
    (run / "spec.yaml").unlink()
    moved = json.dumps({"sequence": 1, "kind": "run_moved", "time_s": 0, "stage": None, "site": None, "facts": {}})
    events = (run / "events.jsonl").read_text()
    (run / "events.jsonl").write_text(f"{moved}\n{events}")
    assert export(run, "--format", "safetensors", "--out", tmp_path / "home").exit_code == 0
    assert export(tmp_path, "--format", "safetensors", "--out", tmp_path / "other").exit_code == 1


def test_a_personalised_model_is_said_to_be_that_of_no_site(trained: Any, tmp_path: Path) -> None:
    run = trained(personalise="fedbn", **VIT)
    assert export(run, "--format", "safetensors", "--out", tmp_path / "home").exit_code == 0
    assert "the model of any site" in (tmp_path / "home" / "README.md").read_text()


def test_a_site_takes_its_own_model_home_from_what_it_has_kept(trained: Any, tmp_path: Path) -> None:
    run = trained(personalise="fedbn", **VIT)
    place = run / "sites" / "north" / "train"
    kept = FilePrivateStore(place).newest()
    own, average = open_finished(run, kept=kept).method.state_dict(), open_finished(run).method.state_dict()
    arguments = (run, "--format", "safetensors", "--out", tmp_path / "home", "--kept", place)
    assert export(*arguments).exit_code == 0
    found = load_file(tmp_path / "home" / "model.safetensors")
    assert all(torch.equal(found[name], own[name]) for name in own)
    assert not all(torch.equal(found[name], average[name]) for name in own)
    card = (tmp_path / "home" / "README.md").read_text()
    assert "the own model of one site" in card
    assert "the model of any site" not in card
    assert export(*arguments, "--best").exit_code == 2


def test_a_folder_that_exists_is_never_written_to(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    found = export(trained(), "--format", "safetensors", "--out", tmp_path)
    assert found.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("arguments", [("--stage", "other"), ("--best",)])
def test_what_a_run_does_not_have_is_explained(trained: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = export(trained(), "--format", "safetensors", "--out", tmp_path / "home", *arguments)
    assert found.exit_code == 1
    assert "This did not work" in found.output


@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_a_runtime_that_predicts_something_else_is_found_out(difference: float) -> None:
    with pytest.raises(CheckpointError, match="nothing was exported"):
        check_equal(torch.zeros(2), np.array([0.0, difference], dtype=np.float32), where="a test")


def test_a_graph_gives_what_the_model_gives_for_any_number_of_images(trained: Any, tmp_path: Path) -> None:
    run, out = trained(), tmp_path / "home"
    assert export(run, "--format", "onnx", "--out", out).exit_code == 0
    check_as_a_stranger(BY_ONNX_RUNTIME, out, run, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "monai"])
@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_strangers_load_every_kind_of_network(
    trained: Any, tmp_path: Path, backbone: dict[str, Any], form: str
) -> None:
    run, out = trained(**backbone), tmp_path / "home"
    assert export(run, "--format", form, "--out", out).exit_code == 0
    check_as_a_stranger(BY_ONNX_RUNTIME if form == "onnx" else BY_MONAI, out, run, tmp_path)


@pytest.mark.slow
def test_a_bundle_reads_image_files_by_itself(trained: Any, hospitals: Path, tmp_path: Path) -> None:
    run, out = trained(), tmp_path / "home"
    export(run, "--format", "monai", "--out", out, "--data", hospitals, "--site", "north")
    model = open_finished(run)
    images = open_split(hospitals, "north", model.spec.dataset, Split.TEST)
    (out / "images").mkdir()
    for number, image in enumerate(images.images):
        Image.fromarray(image[0].numpy()).save(out / "images" / f"{number:03d}.png")
    np.save(tmp_path / "none.npy", np.zeros(1))
    as_a_stranger(BY_MONAI_FROM_FILES, out, tmp_path / "none.npy")
    rows = (out / "eval" / "probabilities.csv").read_text().splitlines()
    found = np.array([[float(value) for value in row.split(",")[1:]] for row in rows])
    pixels = (images.images.float() / 255 - images.mean) / images.std
    with torch.no_grad():
        expected = model.method.predict(pixels).numpy()
    assert np.abs(found - expected).max() <= 1e-5
    assert rows[0].split(",")[0].endswith("000.png")


def check_as_a_stranger(program: str, out: Path, run: Path, folder: Path) -> None:
    model = open_finished(run)
    for count in (1, 4):
        images = examples(model, count)
        np.save(folder / "images.npy", images.numpy())
        as_a_stranger(program, out, folder / "images.npy", folder / "found.npy")
        with torch.no_grad():
            expected = model.method.predict(images).numpy()
        assert np.abs(np.load(folder / "found.npy") - expected).max() <= 1e-5


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "run"))
