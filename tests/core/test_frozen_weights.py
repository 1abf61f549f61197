"""Frozen weights that arrive piece by piece are kept whole and right, or not at all."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedward_core import frozen_weights
from fedward_core.errors import CheckpointError, DataError
from fedward_core.frozen_weights import Arrival, check_safetensors

FILE = save({"weight": np.arange(2048, dtype=np.float32)})


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def arrive(folder: Path, content: bytes, sha256: str) -> None:
    with Arrival(folder, sha256) as coming:
        for start in range(0, len(content), 1000):
            coming.add(content[start : start + 1000])
        coming.keep()


def test_a_whole_file_is_kept_under_its_digest_and_nothing_else(tmp_path: Path) -> None:
    arrive(tmp_path / "weights", FILE, digest_of(FILE))
    (kept,) = (tmp_path / "weights").iterdir()
    assert (kept.name, kept.read_bytes()) == (f"{digest_of(FILE)}.safetensors", FILE)


@pytest.mark.parametrize("content", [FILE[:-1], FILE + b"x", b""], ids=["cut", "longer", "empty"])
def test_other_bytes_than_were_named_are_refused_and_leave_nothing(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"expected sha256 {digest_of(FILE)}, found {digest_of(content)}"):
        arrive(tmp_path, content, digest_of(FILE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 7, pickle.dumps({"weight": 1}), (10**9).to_bytes(8, "little") + b"{}", FILE[:-4], FILE + b"tail"],
    ids=["empty", "short", "pickle", "boundless header", "cut arrays", "something behind"],
)
def test_what_is_no_safetensors_file_is_refused_even_by_its_own_digest(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no safetensors file"):
        arrive(tmp_path, content, digest_of(content))
    assert list(tmp_path.iterdir()) == []
    (foreign := tmp_path / "foreign").write_bytes(content)
    with pytest.raises(DataError, match="no safetensors file"):
        check_safetensors(foreign)


def test_one_that_ends_midway_leaves_nothing(tmp_path: Path) -> None:
    with Arrival(tmp_path, digest_of(FILE)) as coming:
        coming.add(FILE[:100])
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_arrival(tmp_path: Path) -> None:
    code = "import os, pathlib, sys; from fedward_core.frozen_weights import Arrival;"
    code += "Arrival(pathlib.Path(sys.argv[1]), '0' * 64).__enter__(); os._exit(1)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    arrive(tmp_path, FILE, digest_of(FILE))
    assert [path.name for path in tmp_path.iterdir()] == [f"{digest_of(FILE)}.safetensors"]


def test_the_same_file_may_arrive_twice_at_once(tmp_path: Path) -> None:
    with Arrival(tmp_path, digest_of(FILE)) as one, Arrival(tmp_path, digest_of(FILE)) as other:
        for coming in (one, other):
            coming.add(FILE)
        for coming in (one, other):
            coming.keep()
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == FILE


def test_a_full_disk_is_told_in_words_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(frozen_weights, "flush_to_disk", fail)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        arrive(tmp_path, FILE, digest_of(FILE))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_amid_a_file_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, Arrival(tmp_path, digest_of(FILE)) as coming:
        coming._file.close()
        monkeypatch.setattr(coming, "_file", full)
        with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
            coming.add(FILE)
    assert list(tmp_path.iterdir()) == []
