"""A job gives way to orders of federations after a round, and at no other moment."""

import threading
from pathlib import Path

import pytest
from waiting import wait_until

from fedward_cli.simulation.turns import taking_turns
from fedward_client.jobs.slot import SLOT, Slot
from fedward_core.events import Event, EventKind

PATIENCE_S = 60.0


def told(kind: EventKind) -> Event:
    return Event(kind=kind, time_s=0.0, stage="only", round=0, facts={})


def test_an_order_that_waits_is_let_in_after_a_round_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLOT, str(tmp_path))
    slot, heard = Slot(tmp_path), list[str]()

    def order() -> None:
        with slot.for_order():
            heard.append("order")

    with taking_turns(lambda event: heard.append(event.kind)) as hear:
        thread = threading.Thread(target=order)
        thread.start()
        wait_until(lambda: slot.has_orders, patience_s=PATIENCE_S)
        hear(told(EventKind.SITE_TRAINED))
        hear(told(EventKind.ROUND_FINISHED))
        hear(told(EventKind.SITE_TRAINED))
    thread.join(PATIENCE_S)
    assert heard == ["site_trained", "round_finished", "order", "site_trained"]


def test_where_nothing_is_shared_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SLOT, raising=False)
    heard = list[EventKind]()
    with taking_turns(lambda event: heard.append(event.kind)) as hear:
        hear(told(EventKind.ROUND_FINISHED))
    assert heard == [EventKind.ROUND_FINISHED]
