"""``fedward zoo map``: counts at sites add up to the mapping of a frozen classifier."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from fedward_core.cards import Contract
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.building import seeded
from fedward_models.data import generate, sites_in
from fedward_models.frozen import file_digest
from fedward_models.methods.supervised.config import SupervisedConfig

SOURCE_CLASSES = tuple(f"kind {number}" for number in range(6))


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=2, images_per_site=24, image_px=16, seed=1)
    return folder


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec whose classifier of six kinds lies in a file, and has no mapping yet."""
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    network = {"name": "small_cnn", "widths": [4], "hidden": [8]}
    with seeded(3):
        backbone = SmallCNNConfig.model_validate(network).build(image_px=16, channels=1)
        classifier = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=SOURCE_CLASSES, channels=1))
        torch.nn.init.normal_(classifier.head.weight)
    save_file(classifier.state_dict(), path := tmp_path / "kinds.safetensors")
    weights = {"name": "kinds", "sha256": file_digest(path)}
    stage = {
        "name": "prompt",
        "method": {"name": "evp", "weights": weights, "source_classes": 6},
        "backbone": network,
        "rounds": 1,
    }
    (tmp_path / "evp.yaml").write_text(
        yaml.safe_dump({"name": "evp", "dataset": {"name": "films", "image_px": 16}, "stages": [stage]})
    )
    return tmp_path / "evp.yaml"


def test_a_spec_without_the_method_is_told_so(bench: Any) -> None:
    result = bench.call("zoo", "map", bench.spec(), "--data", bench.data)
    assert result.exit_code == 1
    assert "the spec has no stage of evp, the method whose" in " ".join(result.stderr.replace("│", " ").split())


def mapping_of(bench: Any, *arguments: object) -> list[int]:
    result = bench.call("zoo", "map", *map(str, arguments), "--json")
    assert result.exit_code == 0, result.output
    found: list[int] = json.loads(result.stdout)["mapping"]
    return found


def test_counts_of_sites_that_count_alone_add_up_to_those_of_all(
    bench: Any, spec: Path, hospitals: Path, tmp_path: Path
) -> None:
    together = mapping_of(bench, spec, "--data", hospitals)
    assert len(set(together)) == len(together) == 3
    files = []
    for site in sites_in(hospitals):
        files.append(tmp_path / f"{site}.json")
        mapping_of(bench, spec, "--data", hospitals, "--site", site, "--out", files[-1])
    added = mapping_of(bench, spec, *(part for file in files for part in ("--add", file)), "--out", tmp_path / "all")
    assert added == together
    rows = json.loads((tmp_path / "all").read_text())["counts"]
    parts = [json.loads(file.read_text())["counts"] for file in files]
    assert sum(sum(row.values()) for row in rows) == sum(sum(row.values()) for part in parts for row in part)


def test_the_table_says_what_to_write_into_the_spec(bench: Any, spec: Path, hospitals: Path) -> None:
    result = bench.call("zoo", "map", str(spec), "--data", str(hospitals))
    assert result.exit_code == 0, result.output
    assert "mapping: [" in result.stderr
    assert "pneumonia" in result.stdout


def test_without_data_or_counts_there_is_nothing_to_match_by(bench: Any, spec: Path) -> None:
    result = bench.call("zoo", "map", str(spec))
    assert result.exit_code == 2
    assert "nothing to match by" in result.stderr.replace("\n", " ")


def test_a_stage_whose_classes_need_no_matching_is_refused(bench: Any, spec: Path, hospitals: Path) -> None:
    values = yaml.safe_load(spec.read_text())
    values["stages"][0]["method"] = {"name": "evp", "weights": "as_built"}
    spec.write_text(yaml.safe_dump(values))
    result = bench.call("zoo", "map", str(spec), "--data", str(hospitals))
    assert result.exit_code == 1
    assert "a classifier in a file" in result.stderr.replace("\n", " ")


def written(folder: Path, spec: Path, **changes: Any) -> Path:
    """A file of counts of the spec's classifier, but for changes."""
    weights = yaml.safe_load(spec.read_text())["stages"][0]["method"]["weights"]["sha256"]
    counts = {"weights": weights, "classes": ["a", "b"], "source_classes": 6, "counts": [{"0": 3}, {"5": 1}]}
    path = folder / f"counts-{len(list(folder.glob('counts-*')))}.json"
    path.write_text(json.dumps({**counts, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "0" * 64}, "counts what another classifier answers"),
        ({"classes": ["a", "c"]}, "counts of other classes do not add up"),
        ({"counts": [{"0": 3}, {"6": 1}]}, "do not fit its classes"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(
    bench: Any, spec: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    good, other = written(tmp_path, spec), written(tmp_path, spec, **changes)
    assert mapping_of(bench, spec, "--add", good) == [0, 5]
    result = bench.call("zoo", "map", str(spec), "--add", str(good), "--add", str(other))
    assert result.exit_code == 1
    assert words in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "no UTF-8: \xe9",
        '{"classes": ["a"], "source_classes": 2, "counts": [{"1": 1}]}',
        '{"weights": "", "classes": ["a"], "source_classes": 2, "counts": [{"1": 1}]}',
    ],
)
def test_a_file_without_fitting_counts_is_refused(bench: Any, spec: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "counts.json").write_bytes(content.encode("latin-1"))
    result = bench.call("zoo", "map", str(spec), "--add", str(tmp_path / "counts.json"))
    assert result.exit_code == 1
    assert "counts.json" in result.stderr
