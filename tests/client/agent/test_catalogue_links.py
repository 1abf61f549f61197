"""Programs find a site's datasets by links, which stand still while they are read through."""

from pathlib import Path

import pytest

from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.policy import Offer
from fedward_core.fleet_messages import Cards


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """A dataset of the hospital's."""
    (folder := tmp_path / "ward").mkdir()
    (folder / "labels.csv").write_text("file\n")
    return folder


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """A catalogue that makes no cards."""
    monkeypatch.setattr(Catalogue, "_made", lambda *_: Cards(cards=(), digest=""))
    return Catalogue(tmp_path / "catalogue", "north", log=tmp_path / "cards.log")


def test_a_dataset_that_grows_or_gets_a_neighbour_is_not_linked_anew(
    catalogue: Catalogue, ward: Path, tmp_path: Path
) -> None:
    catalogue.refresh({"chest": Offer(path=ward)})
    place = tmp_path / "catalogue" / "chest" / "north"
    made = place.lstat().st_ctime_ns
    (ward / "labels.csv").write_text("file\na.png\n")
    catalogue.refresh({"chest": Offer(path=ward), "films": Offer(path=tmp_path / "films.npz")})
    assert place.lstat().st_ctime_ns == made
    assert (tmp_path / "catalogue" / "films" / "north.npz").readlink() == tmp_path / "films.npz"


def test_links_follow_the_policy(catalogue: Catalogue, ward: Path, tmp_path: Path) -> None:
    catalogue.refresh({"chest": Offer(path=ward), "films": Offer(path=ward)})
    catalogue.refresh({"chest": Offer(path=tmp_path / "other.npz")})
    found = {path: path.readlink() for path in (tmp_path / "catalogue").glob("*/*")}
    assert found == {tmp_path / "catalogue" / "chest" / "north.npz": tmp_path / "other.npz"}
    assert (ward / "labels.csv").exists()


def test_what_lies_in_the_place_of_a_link_gives_way(catalogue: Catalogue, ward: Path, tmp_path: Path) -> None:
    place = tmp_path / "catalogue" / "chest" / "north"
    (place / "folder").mkdir(parents=True)
    (tmp_path / "catalogue" / "note.txt").touch()
    (tmp_path / "catalogue" / "films").touch()
    catalogue.refresh({"chest": Offer(path=ward), "films": Offer(path=ward)})
    assert place.readlink() == ward
    assert sorted(path.name for path in (tmp_path / "catalogue").iterdir()) == ["chest", "films"]
