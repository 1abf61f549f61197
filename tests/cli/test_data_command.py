"""``fedward data``: what it writes, what it shows, and what it does not import."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_cli.main import __name__ as main_module
from fedward_core.arrays import Array
from fedward_core.cards import DatasetCard
from fedward_models.data import sites_in


def read(path: Path, key: str) -> Array:
    with np.load(path) as file:
        array: Array = file[key]
        return array


def test_generate_writes_so_many_sites_and_images_the_same_each_time(bench: Any) -> None:
    for name in ("one", "two"):
        command = ("data", "generate", "--out", bench.folder / name, "--sites", 2, "--images", 24, "--px", 16)
        assert bench.call(*command, "--seed", 3).exit_code == 0
    assert len(sites_in(bench.folder / "one")) == 2
    for site in sites_in(bench.folder / "one"):
        first, second = (read(bench.folder / name / f"{site}.npz", "images") for name in ("one", "two"))
        assert first.shape == (24, 16, 16)
        assert (first == second).all()


def test_inspect_counts_each_site_split_and_class(bench: Any) -> None:
    result = bench.call("data", "inspect", bench.data)
    assert result.exit_code == 0, result.output
    for expected in ("hill", "north", "river", "train", "val", "test", "pneumonia", "16x16"):
        assert expected in result.stdout


def test_names_of_sites_are_shown_as_they_are(bench: Any, tmp_path: Path) -> None:
    for site in ("hill", "north"):
        shutil.copy(bench.data / f"{site}.npz", tmp_path / f"{site} [old] west.npz")
    assert "hill [old] west" in bench.call("data", "inspect", tmp_path, "--px", 16).stdout
    assert "hill [old] west" in bench.call("data", "compare", tmp_path, "--px", 16).stdout


def test_inspect_as_json_is_a_list_of_cards(bench: Any) -> None:
    cards = [
        DatasetCard.model_validate(card)
        for card in json.loads(bench.call("data", "inspect", bench.data, "--json").stdout)
    ]
    assert [card.site for card in cards] == ["hill", "north", "river"]
    assert all(sum(card.num_images.values()) == 30 for card in cards)


def test_inspect_draws_a_picture_where_asked(bench: Any) -> None:
    picture = bench.folder / "look.png"
    assert bench.call("data", "inspect", bench.data, "--picture", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["look", "look.xyz", "."])
def test_a_picture_that_would_be_none_is_refused_before_data_are_read(bench: Any, name: str) -> None:
    result = bench.call("data", "inspect", bench.data, "--picture", bench.folder / name)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_file_that_cannot_be_used_is_told_on_one_line(bench: Any) -> None:
    site = bench.folder / "files" / "west"
    site.mkdir(parents=True)
    name = f"{'ward/' * 60}missing.png"
    site.joinpath("labels.csv").write_text(f"file,label\n{name},normal\n" + _write_pictures(site))
    (line,) = (line for line in bench.call("data", "inspect", site.parent).stdout.splitlines() if "missing" in line)
    assert line == f"west: {name}: not there: names begin at the table's folder and have / between folders"


def test_inspect_names_files_that_cannot_be_used(bench: Any) -> None:
    site = bench.folder / "files" / "west"
    site.mkdir(parents=True)
    site.joinpath("labels.csv").write_text("file,label\nmissing.png,normal\n" + _write_pictures(site))
    result = bench.call("data", "inspect", site.parent)
    assert result.exit_code == 0, result.output
    assert "missing.png" in result.stdout


@pytest.mark.parametrize(
    ("kind", "making", "looking"),
    [
        ("volume", ("--depth", 8), ("--depth", 8, "--spacing", "27.5,13.75,13.75")),
        ("clip", ("--depth", 8), ("--frames", 6)),
        ("report", (), ()),
    ],
)
def test_every_kind_can_be_made_looked_at_and_compared(bench: Any, kind: str, making: Any, looking: Any) -> None:
    folder = bench.folder / kind
    command = ("data", "generate", "--out", folder, "--sites", 2, "--images", 20, "--px", 16, "--kind", kind)
    assert bench.call(*command, *making).exit_code == 0
    result = bench.call("data", "inspect", folder, "--px", 16, "--kind", kind, *looking, "--json")
    assert result.exit_code == 0, result.output
    assert {card["contract"]["kind"] for card in json.loads(result.stdout)} == {kind}
    result = bench.call("data", "compare", folder, "--px", 16, "--kind", kind, *looking)
    assert result.exit_code == 0, result.output
    assert "because" in result.stdout


@pytest.mark.parametrize(("kind", "option"), [("volume", "--depth"), ("clip", "--frames")])
def test_a_kind_that_needs_a_number_names_the_option(bench: Any, kind: str, option: str) -> None:
    result = bench.call("data", "inspect", bench.data, "--kind", kind)
    assert result.exit_code == 2
    assert f"needs {option}" in " ".join(result.stderr.split())


def test_titles_of_distances_stand_on_one_line(bench: Any) -> None:
    shown = bench.call("data", "compare", bench.data, "--px", 16).stdout
    assert "Distance of classes (total variation, 0 to 1)\n" in shown
    assert "Training images, in all to the nearest ten\n" in shown


def test_compare_hides_small_counts_in_both_forms(bench: Any) -> None:
    found = json.loads(bench.call("data", "compare", bench.data, "--px", 16, "--json").stdout)
    assert found["sites"] == ["hill", "north", "river"]
    counts = [count for row in found["class_counts"] for count in row]
    assert None in counts
    assert all(count is None or count >= 5 for count in counts)
    assert "<5" in bench.call("data", "compare", bench.data, "--px", 16).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", 4), "frames has no effect with kind 'image'"),
        (("--window", "nan,inf"), "│ window: Input should be a finite number │"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_a_sentence(bench: Any, options: Any, message: str) -> None:
    result = bench.call("data", "inspect", bench.data, *options)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--window", "3"), "--window is '3', expected 2 numbers"),
        (("--kind", "volume", "--depth", 4, "--spacing", "a,b,c"), "--spacing is 'a,b,c', expected 3 numbers"),
    ],
)
def test_numbers_that_are_none_are_a_usage_error(bench: Any, options: Any, message: str) -> None:
    result = bench.call("data", "inspect", bench.data, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_list_writes_a_table_and_import_writes_sites(bench: Any) -> None:
    site = bench.folder / "scans" / "west"
    site.mkdir(parents=True)
    _write_pictures(site)
    assert bench.call("data", "list", site).exit_code == 0
    assert site.joinpath("labels.csv").read_text().startswith("file,label,patient\n0.png,,")
    split = bench.folder / "set"
    for part in ("train", "test"):
        (split / part).mkdir(parents=True)
        data = {"x": np.zeros((4, 1, 8, 8), np.float32), "y": np.arange(4)}
        np.savez(split / part / "0.npz", data=np.array(data, dtype=object))
    assert bench.call("data", "import", split, "--out", bench.folder / "sites").exit_code == 0
    assert sites_in(bench.folder / "sites") == ("client-0",)


def test_split_cuts_every_named_site_into_parts(bench: Any) -> None:
    command = (
        "data",
        "split",
        bench.data,
        "--site",
        "north",
        "--site",
        "hill",
        "--parts",
        2,
        "--out",
        bench.folder / "cut",
    )
    assert bench.call(*command).exit_code == 0
    assert sites_in(bench.folder / "cut") == ("hill-1", "hill-2", "north-1", "north-2")
    parts = [read(bench.folder / "cut" / f"north-{part}.npz", "patient") for part in (1, 2)]
    assert sum(map(len, parts)) == 30
    assert not set(parts[0].tolist()) & set(parts[1].tolist())


def test_split_with_alpha_skews_the_classes(bench: Any) -> None:
    bench.call("data", "generate", "--out", bench.folder / "more", "--sites", 1, "--images", 300, "--px", 16)
    command = ("data", "split", bench.folder / "more", "--site", "north", "--parts", 2, "--out", bench.folder / "cut")
    assert bench.call(*command, "--alpha", 0.1, "--seed", 1).exit_code == 0
    shares = [np.bincount(read(bench.folder / "cut" / f"north-{n}.npz", "labels"), minlength=3) for n in (1, 2)]
    assert abs(shares[0] / shares[0].sum() - shares[1] / shares[1].sum()).max() > 0.2


@pytest.mark.parametrize("held", ["north.npz", "labels.csv", "north/labels.csv"])
def test_simulated_hospitals_never_take_the_place_of_data_that_is_there(bench: Any, held: str) -> None:
    there = bench.folder / "mine" / held
    there.parent.mkdir(parents=True)
    there.write_text("of patients")
    result = bench.call("data", "generate", "--out", bench.folder / "mine", "--images", 20, "--px", 16)
    assert result.exit_code == 1
    assert "holds sites already" in result.stderr
    assert there.read_text() == "of patients"
    assert [path for path in (bench.folder / "mine").rglob("*") if path.is_file()] == [there]


def test_a_cut_into_fewer_parts_leaves_no_part_of_an_earlier_one_beside_it(bench: Any) -> None:
    def cut(parts: int, site: str = "north") -> Any:
        return bench.call("data", "split", bench.data, "--site", site, "--parts", parts, "--out", bench.folder / "cut")

    assert cut(3).exit_code == 0
    assert cut(3).exit_code == 0
    assert cut(2, "hill").exit_code == 0
    result = cut(2)
    assert result.exit_code == 1
    assert "holds north-3.npz of an earlier cut" in " ".join(result.stderr.split())


def test_the_parts_of_a_site_never_lie_beside_the_whole(bench: Any) -> None:
    result = bench.call("data", "split", bench.data, "--site", "north", "--out", bench.data)
    assert result.exit_code == 1
    assert "choose another --out" in " ".join(result.stderr.split())
    assert sites_in(bench.data) == ("hill", "north", "river")


def test_a_folder_without_sites_is_a_clear_error(bench: Any) -> None:
    (bench.folder / "empty").mkdir()
    result = bench.call("data", "inspect", bench.folder / "empty")
    assert result.exit_code == 1
    assert "no site" in result.stderr


def test_looking_at_data_imports_no_torch(bench: Any) -> None:
    script = (
        f"import sys\nfrom {main_module} import app\n"
        f"app(['data', 'inspect', {str(bench.data)!r}, '--json'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _write_pictures(folder: Any) -> str:
    from PIL import Image  # noqa: PLC0415 - beside its only use

    rows = ""
    for number in range(24):
        Image.new("L", (16, 16), color=10 * number).save(folder / f"{number}.png")
        rows += f"{number}.png,{('normal', 'pneumonia')[number % 2]}\n"
    return rows
