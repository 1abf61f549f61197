"""Files as PFLlib splits them."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import import_pfllib, open_split, sites_in


def images(count: int, channels: int = 1, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (count, channels, 8, 8)).astype(np.float32)


def write(folder: Path, client: int = 0, channels: int = 1, **changes: Any) -> Path:
    """As their ``save_file`` does: a dictionary in a file of one array."""
    for part, count in (("train", 6), ("test", 3)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        data = {"x": images(count, channels, client), "y": np.arange(count) % 3, **changes}
        with (folder / part / f"{client}.npz").open("wb") as file:
            np.savez_compressed(file, data=np.array(data, dtype=object))
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_every_client_becomes_a_site_with_its_splits(tmp_path: Path, channels: int) -> None:
    for client in (0, 1, 10):
        write(tmp_path / "mnist", client, channels)
    import_pfllib(tmp_path / "mnist", tmp_path / "out")
    assert sites_in(tmp_path / "out") == ("client-00", "client-01", "client-10")
    train = open_split(tmp_path / "out", "client-10", Dataset(name="mnist", image_px=8), Split.TRAIN)
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    expected = (images(6, channels, 10) + 1) / 2 * 255
    assert np.abs(train.images.numpy() - expected).max() <= 0.5001


def test_another_range_may_be_named(tmp_path: Path) -> None:
    write(tmp_path / "set", x=np.full((6, 1, 8, 8), 0.5, np.float32), y=np.zeros(6, int))
    with np.load(import_pfllib(tmp_path / "set", tmp_path / "out", value_range=(0.0, 1.0))[0]) as file:
        assert set(np.unique(file["images"])) == {128}


def test_pixels_outside_the_range_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "set", x=images(6) * 2, y=np.zeros(6, int))
    with pytest.raises(DataError, match="pixels lie outside -1 to 1"):
        import_pfllib(tmp_path / "set", tmp_path / "out")


def test_pixels_that_are_no_numbers_lie_outside_of_any_range(tmp_path: Path) -> None:
    write(tmp_path / "set", x=np.full((6, 1, 8, 8), np.nan, np.float32), y=np.zeros(6, int))
    with pytest.raises(DataError, match="pixels lie outside -1 to 1"):
        import_pfllib(tmp_path / "set", tmp_path / "out")


def test_black_that_is_white_is_no_range(tmp_path: Path) -> None:
    write(tmp_path / "set")
    with pytest.raises(DataError, match="expected black below white"):
        import_pfllib(tmp_path / "set", tmp_path / "out", value_range=(1.0, 1.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"x": np.zeros((6, 8))},
        {"y": np.zeros(5, int)},
        {"x": np.zeros((6, 2, 8, 8))},
        {"x": np.full((6, 1, 8, 8), "white")},
        {"y": np.full(6, 0.5)},
        {"y": np.full(6, "ill")},
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write(tmp_path / "set", **changes)
    with pytest.raises(DataError, match="client 0: images are"):
        import_pfllib(tmp_path / "set", tmp_path / "out")


class Harmful:
    """What a pickle may carry: a call that runs on loading."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    write(tmp_path / "set", x=Harmful(tmp_path / "harm"))
    with pytest.raises(DataError, match="expected a file of PFLlib"):
        import_pfllib(tmp_path / "set", tmp_path / "out")
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Harmful(tmp_path / "harm")))  # it would have
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "set")
    (tmp_path / "set" / "train" / "0.npz").write_bytes(content)
    with pytest.raises(DataError, match="client 0: expected a file of PFLlib"):
        import_pfllib(tmp_path / "set", tmp_path / "out")


@pytest.mark.parametrize("damage", [b".", b"cnumpy\n_frombuffer\n.", b"cnumpy._core.numeric\nundefined\n.", b"(lp0\n."])
def test_a_damaged_pickle_is_refused(tmp_path: Path, damage: bytes) -> None:
    write(tmp_path / "set")
    whole = io.BytesIO()
    np.save(whole, np.array({}, dtype=object))
    header = whole.getvalue().partition(b"\n")[0] + b"\n"
    with zipfile.ZipFile(tmp_path / "set" / "train" / "0.npz", "w") as archive:
        archive.writestr("data.npy", header + damage)
    with pytest.raises(DataError, match="client 0: expected a file of PFLlib"):
        import_pfllib(tmp_path / "set", tmp_path / "out")


@pytest.mark.parametrize("place", range(60, 400, 20))
def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path, place: int) -> None:
    path = write(tmp_path / "set") / "train" / "0.npz"
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="client 0: expected a file of PFLlib"):
        import_pfllib(tmp_path / "set", tmp_path / "out")


def test_a_folder_without_clients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder with train/0\.npz"):
        import_pfllib(tmp_path, tmp_path / "out")
