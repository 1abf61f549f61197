"""Files that nobody but their user can read."""

import os
from pathlib import Path

import pytest

from fedward_core.atomic import PART, write_secret, writer_of
from fedward_core.errors import CheckpointError


def test_a_secret_can_be_read_by_its_user_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key"
    for content in (b"first", b"second"):
        write_secret(path, content)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_others_hold_open_never_gets_the_secret(tmp_path: Path) -> None:
    left = tmp_path / f".key.{writer_of(os.getpid())}{PART}"
    left.touch(mode=0o666)
    with left.open("rb") as held:
        write_secret(tmp_path / "key", b"secret")
        assert held.read() == b""
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(CheckpointError, match="cannot write 'key'"):
        write_secret(tmp_path / "key", b"secret")
