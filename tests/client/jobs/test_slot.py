"""An order of a federation and a job of the site never train at once, and the order goes first."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedward_client.jobs.slot import POLL_S, Slot
from fedward_core.processes.process import Process

PATIENCE_S = 60.0


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    slot = Slot(tmp_path / "slot")
    slot.make()
    return slot


def wait_for_order(slot: Slot) -> None:
    while not slot.has_orders:
        threading.Event().wait(POLL_S)


def test_orders_and_jobs_never_hold_it_at_once(slot: Slot) -> None:
    inside: list[str] = []
    most: list[int] = []

    def enter(name: str) -> None:
        inside.append(name)
        most.append(len(inside))
        threading.Event().wait(0.001)
        inside.remove(name)

    def orders() -> None:
        for _ in range(20):
            with slot.for_order():
                enter("order")

    thread = threading.Thread(target=orders)
    thread.start()
    with slot.for_job() as turn:
        for _ in range(40):
            enter("job")
            turn.give_way()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert most == [1] * 60


def test_an_order_that_waits_goes_before_the_next_round_of_a_job(slot: Slot) -> None:
    told: list[str] = []

    def order() -> None:
        with slot.for_order():
            told.append("order")

    with slot.for_job() as turn:
        thread = threading.Thread(target=order)
        thread.start()
        wait_for_order(slot)
        told.append("first round")
        turn.give_way()
        told.append("second round")
    thread.join(PATIENCE_S)
    assert told == ["first round", "order", "second round"]


def test_what_a_killed_order_left_holds_nobody_up(slot: Slot, tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from fedward_client.jobs.slot import Slot\n"
    program += "with Slot(Path(sys.argv[1])).for_order():\n    print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "slot")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as order:
        assert order.stdout is not None
        order.stdout.readline()
        found = Process.of(order.pid)
        assert found is not None
        (tmp_path / "slot" / "waiting" / str(order.pid)).write_text(found.model_dump_json())
        assert slot.has_orders
        order.kill()
    assert not slot.has_orders
    with slot.for_job():
        pass


def test_an_order_that_was_killed_while_it_wrote_its_note_holds_nobody_up(slot: Slot, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as order:
        order.wait()
    waiting = tmp_path / "slot" / "waiting"
    (waiting / str(order.pid)).touch()
    assert not slot.has_orders
    (waiting / str(os.getpid())).touch()
    assert slot.has_orders


def test_an_order_that_was_locked_in_waits_no_more(slot: Slot) -> None:
    with slot.for_order():
        assert not slot.has_orders
    assert not slot.has_orders


def test_nothing_that_another_user_left_in_the_slot_is_followed_or_waited_for(tmp_path: Path) -> None:
    folder, victim = tmp_path / "slot", tmp_path / "victim"
    (folder / "waiting").mkdir(parents=True)
    (folder / "lock").symlink_to(victim)
    (folder / "waiting" / "a name").write_text("{}")
    os.mkfifo(folder / "waiting" / "1")
    slot = Slot(folder)
    slot.make()
    assert not victim.exists()
    assert not slot.has_orders
    with slot.for_job() as turn:
        turn.give_way()
