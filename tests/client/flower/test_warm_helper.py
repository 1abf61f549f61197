"""The helper that starts client apps."""

import os
import signal
import time
from pathlib import Path

from fedward_client.flower.app_settings import AppSettings
from fedward_client.flower.warm_helper import WarmHelper


def test_a_helper_that_was_killed_is_replaced_and_none_is_left_in_the_end(tmp_path: Path) -> None:
    settings = AppSettings(site="north", data=tmp_path, private=tmp_path)
    helper = WarmHelper(settings, home=tmp_path)
    first = helper.pid
    os.kill(first, signal.SIGKILL)
    while "Z" not in state_of(first):
        time.sleep(0.01)
    helper.start("127.0.0.1:1", "token", tmp_path / "1.json")
    second = helper.pid
    assert second != first
    assert state_of(second)
    helper.close()
    assert not state_of(first)
    assert not state_of(second)


def state_of(pid: int) -> str:
    """The letter that the kernel gives a process's state; empty when there is none."""
    path = Path(f"/proc/{pid}/stat")
    return path.read_text().rsplit(")", 1)[1].split()[0] if path.exists() else ""
