"""Which sites a folder holds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedward_core.errors import DataError
from fedward_models.data.source import locate, read_rows, sites_in

Writer = Callable[..., Path]


def test_files_and_folders_are_sites_in_alphabetical_order(
    write_site: Writer, write_table: Writer, tmp_path: Path
) -> None:
    write_site("river")
    write_site("coast")
    write_table([{"file": "a.png", "label": "0"}], folder="hill")
    assert sites_in(tmp_path) == ("coast", "hill", "river")


def test_one_table_lists_many_sites(write_table: Writer, tmp_path: Path) -> None:
    rows = [{"file": f"{site}/a.png", "label": "0", "site": site} for site in ("river", "coast", "river")]
    write_table(rows)
    assert sites_in(tmp_path) == ("coast", "river")
    assert len(read_rows(locate(tmp_path, "river"))) == 2


def test_what_a_system_hides_is_no_site(write_site: Writer, write_table: Writer, tmp_path: Path) -> None:
    write_site("river")
    (tmp_path / "._river.npz").write_bytes(b"\0\5\x16\7")  # what a Mac leaves on a foreign disk
    write_table([{"file": "a.png", "label": "0"}], folder=".Trash")
    assert sites_in(tmp_path) == ("river",)


def test_rows_of_no_site_are_refused_rather_than_lost(write_table: Writer, tmp_path: Path) -> None:
    """A spreadsheet that joins cells names a site in the first of its rows only."""
    write_table(
        [{"file": f"{number}.png", "label": "0", "site": site} for number, site in enumerate(("river", "", " "))]
    )
    with pytest.raises(DataError, match=r"2 rows of the labels\.csv of all sites name no site"):
        sites_in(tmp_path)


@pytest.mark.parametrize("site", ["../coast", "coast/west", "..", "."])
def test_a_site_whose_name_is_a_path_is_refused(site: str, write_table: Writer, tmp_path: Path) -> None:
    write_table([{"file": "a.png", "label": "0", "site": site}])
    with pytest.raises(DataError, match="which no folder can be called"):
        sites_in(tmp_path)
    with pytest.raises(DataError):
        locate(tmp_path, site)


def test_a_table_beside_files_does_not_add_sites(write_site: Writer, write_table: Writer, tmp_path: Path) -> None:
    write_site("river")
    write_table([{"file": "a.png", "label": "0", "site": "nowhere"}])
    assert sites_in(tmp_path) == ("river",)


def test_a_folder_without_sites_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no site has this dataset: expected <site>\.npz files"):
        sites_in(tmp_path)


def test_a_folder_that_does_not_exist_is_refused_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist") as refusal:
        sites_in(tmp_path / "secret-ward")
    assert "secret-ward" not in str(refusal.value)


def test_a_site_that_does_not_exist_is_named_with_those_that_do(write_site: Writer, tmp_path: Path) -> None:
    write_site("river")
    with pytest.raises(DataError, match="no data of site 'rivre': the folder holds river"):
        locate(tmp_path, "rivre")


def test_a_site_with_file_and_folder_is_refused(write_site: Writer, write_table: Writer, tmp_path: Path) -> None:
    write_site("river")
    write_table([{"file": "a.png", "label": "0"}], folder="river")
    with pytest.raises(DataError, match="site 'river' has a file and a folder"):
        sites_in(tmp_path)


@pytest.mark.parametrize("content", [b"file,label\n\xff\xfe.png,0\n", b"file,label\na.png,0,extra\n"])
def test_a_table_that_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "river").mkdir()
    (tmp_path / "river" / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.csv"):
        read_rows(locate(tmp_path, "river"))


def test_cards_inspection_and_simulation_start_without_torch() -> None:
    names = "describe, generate, inspect, inspect_picture, sites_in, split_dirichlet, split_site"
    code = (
        f"import sys; from fedward_models.data import {names}; assert not {{'torch', 'matplotlib'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_exported_name_exists() -> None:
    import fedward_models.data as package  # noqa: PLC0415

    assert all(callable(getattr(package, name)) for name in package.__all__)
    with pytest.raises(AttributeError):
        package.nothing_of_this_name  # noqa: B018
