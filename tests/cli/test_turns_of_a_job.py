"""A job gives way to orders of federations after a round, a batch or an explained image, and at no other moment."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from waiting import wait_until

from fedward_cli.main import app
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


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_model_in_use_holds_the_slot_while_it_computes_and_lets_orders_in_between(
    command: str, trained: Any, hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are decoded before the slot is held, as that takes long and no GPU."""
    from fedward_models.inference import explaining, fitting, predicting  # noqa: PLC0415 - slow to import

    slot, heard = Slot(tmp_path / "slot"), list[str]()
    slot.make()
    monkeypatch.setenv(SLOT, str(tmp_path / "slot"))
    home: Any = {"predict": predicting, "explain": explaining}[command]
    use, read = getattr(home, f"{command}_site"), fitting.open_fitting

    def read_first(*arguments: Any) -> Any:
        heard.append("read free" if is_free(tmp_path / "slot" / "lock") else "read")
        return read(*arguments)

    def use_at_one_site(*arguments: Any, give_way: Callable[[], None], **how: Any) -> Any:
        if "order" in heard:
            return use(*arguments, **how)
        thread = threading.Thread(target=order)
        thread.start()
        wait_until(lambda: slot.has_orders, patience_s=PATIENCE_S)
        heard.append("before")
        give_way()
        thread.join(PATIENCE_S)
        heard.append("after")
        return use(*arguments, **how)

    def order() -> None:
        with slot.for_order():
            heard.append("order")

    monkeypatch.setattr(fitting, "open_fitting", read_first)
    monkeypatch.setattr(home, f"{command}_site", use_at_one_site)
    run = ["--data", str(hospitals), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(app, [command, str(trained()), *run])
    assert found.exit_code == 0, found.output
    assert heard[:6] == ["read free", "read free", "read free", "before", "order", "after"]
    assert "read free" not in heard[6:]
    assert is_free(tmp_path / "slot" / "lock")


def is_free(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
