"""Processes that are known by id, start and boot."""

import os
import subprocess
import sys

from waiting import wait_until

from fedward_core.processes.process import Process


def test_a_process_with_the_same_id_but_another_start_is_another() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = Process.of(child.pid)
        assert process is not None
        assert process.is_alive
        assert not process.model_copy(update={"started": process.started - 1}).is_alive
        assert not process.model_copy(update={"boot": "another"}).is_alive
        child.kill()
        wait_until(lambda: not process.is_alive)  # though nobody has waited for it yet
        assert Process.of(child.pid) is None


def test_a_process_of_an_earlier_boot_is_told_from_one_of_this() -> None:
    process = Process.of(os.getpid())
    assert process is not None
    assert process.is_of_this_boot
    assert not process.model_copy(update={"boot": "another"}).is_of_this_boot
