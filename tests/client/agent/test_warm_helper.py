"""The helper that starts client apps."""

import os
import signal
import time
from pathlib import Path

from fedward_client.agent.settings import AgentSettings
from fedward_client.flower.warm_helper import WarmHelper


def test_a_helper_that_was_killed_is_replaced_and_none_is_left_in_the_end(tmp_path: Path) -> None:
    settings = AgentSettings(
        site="north",
        superlink="127.0.0.1:1",
        data=tmp_path,
        private=tmp_path,
        home=tmp_path,
        approved=frozenset(),
    )
    helper = WarmHelper(settings)
    first = helper.pid
    os.kill(first, signal.SIGKILL)
    while "Z" not in state_of(first):
        time.sleep(0.01)
    helper.start("127.0.0.1:1", "token")
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
