"""``fedward data``: what it writes, what it shows, and what it does not import."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

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


def test_inspect_names_files_that_cannot_be_used(bench: Any) -> None:
    site = bench.folder / "files" / "west"
    site.mkdir(parents=True)
    site.joinpath("labels.csv").write_text("file,label\nmissing.png,normal\n" + _write_pictures(site))
    result = bench.call("data", "inspect", site.parent)
    assert result.exit_code == 0, result.output
    assert "missing.png" in result.stdout


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
