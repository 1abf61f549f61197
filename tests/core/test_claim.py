"""A claim on a folder."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedward_core.claim import claimed
from fedward_core.errors import FedwardError

BUSY = FedwardError("in use")


@contextmanager
def another_process(path: Path) -> Iterator[int]:
    """A process that holds the claim until it is killed."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with claimed(path, BUSY):
            os.write(told, b".")
            time.sleep(60)
        os._exit(1)
    os.read(ready, 1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_one_process_at_a_time_holds_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with another_process(path), pytest.raises(FedwardError, match="in use"), claimed(path, BUSY):
        pass


def test_the_claim_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with another_process(tmp_path / "lock"):
        pass
    with claimed(tmp_path / "lock", BUSY):
        pass


def test_a_patient_one_waits_until_the_claim_is_free(tmp_path: Path) -> None:
    with another_process(tmp_path / "lock") as child:
        os.kill(child, signal.SIGKILL)  # not waited for: it ends while the claim is asked for
        with claimed(tmp_path / "lock", BUSY, patience_s=60):
            pass


def test_a_claim_on_nothing_makes_nothing_where_none_is_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "lock", BUSY, make=False):
        pass
    assert list(tmp_path.iterdir()) == []
