"""What a coordinator tells of a run becomes the results that its folder would give, however it is cut into answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from fedward_cli.network import run_events
from fedward_cli.network.coordinator import Coordinator, UnreachableError
from fedward_cli.network.run_events import event_of, fetch_results
from fedward_cli.simulation.event_file import EventFile, read_events
from fedward_cli.simulation.results import gather, read_results
from fedward_core.errors import CheckpointError
from fedward_core.events import Event, EventKind
from fedward_core.run_folder import EVENTS


def own(sequence: int, kind: EventKind, site: str, round_: int, **facts: Any) -> dict[str, Any]:
    event = Event(kind=kind, time_s=0.0, stage="only", round=round_, site=site, facts=facts)
    return {"sequence": sequence, **event.model_dump(mode="json")}


def moved(sequence: int) -> dict[str, Any]:
    """An event of the coordinator's own."""
    place = {"stage": None, "round": None, "site": None}
    return {"sequence": sequence, "kind": "run_moved", "time_s": 0.0, "facts": {"to": "running"}, **place}


def accuracy(value: float) -> dict[str, Any]:
    return {"accuracy": {"value": value, "n": 7, "low": None, "high": None}}


TOLD = [
    moved(1),
    own(2, EventKind.SITE_TRAINED, "north", 0, bytes=100, num_steps=3, loss=0.5),
    own(3, EventKind.EVALUATED, "north", 0, metrics=accuracy(0.4)),
    moved(4),
    own(5, EventKind.SITE_TRAINED, "north", 1, bytes=200, num_steps=3, loss=0.25),
    own(6, EventKind.EVALUATED, "north", 1, metrics=accuracy(0.8)),
    moved(7),
]


class Teller:
    """Answers as a coordinator does: events behind a sequence number, at most so many."""

    def get(self, path: str, *, after: int, limit: int) -> list[dict[str, Any]]:
        assert path == "/runs/tiny/events"
        return [told for told in TOLD if told["sequence"] > after][:limit]


@pytest.mark.parametrize("page", [1, 2, 7, 100])
def test_results_told_in_pieces_are_those_of_the_folder(
    page: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_events, "PAGE", page)
    lines = [event.model_dump_json() for told in TOLD if (event := event_of(told))]
    (tmp_path / EVENTS).write_text("".join(f"{line}\n" for line in lines))
    fetched = fetch_results(cast("Coordinator", Teller()), "tiny")
    assert fetched == read_results(tmp_path)
    assert fetched.final["north"]["accuracy"].value == 0.8
    assert fetched.bytes_sent == {"north": 300}


class Flickering(Teller):
    """Goes away amid a run, after a long silence, and stays away for so long."""

    def __init__(self, away_s: float) -> None:
        self.now_s, self._away_s, self._connections = 0.0, away_s, 0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def events(self, run: str, after: int) -> Iterator[dict[str, Any]]:
        self._connections += 1
        if self._connections == 1:
            yield from TOLD[:3]
            self.now_s += 3600
            self._back_s = self.now_s + self._away_s
            raise UnreachableError("the coordinator went away")
        yield from (told for told in TOLD if told["sequence"] > after)

    def get(self, path: str, **query: int) -> Any:
        if self.now_s < self._back_s:
            raise UnreachableError("no coordinator answers")


def test_a_coordinator_is_waited_for_also_after_a_long_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator, heard = Flickering(away_s=run_events.AWAY_S / 2), list[Event]()
    monkeypatch.setattr(run_events, "time", coordinator)
    run_events._follow(cast("Coordinator", coordinator), "tiny", heard.append)
    assert [(event.kind, event.round) for event in heard] == [
        (EventKind.SITE_TRAINED, 0),
        (EventKind.EVALUATED, 0),
        (EventKind.SITE_TRAINED, 1),
        (EventKind.EVALUATED, 1),
    ]


def test_a_coordinator_that_stays_away_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = Flickering(away_s=2 * run_events.AWAY_S)
    monkeypatch.setattr(run_events, "time", coordinator)
    with pytest.raises(UnreachableError):
        run_events._follow(cast("Coordinator", coordinator), "tiny", lambda event: None)


def test_a_sign_that_ends_lines_elsewhere_ends_no_event(tmp_path: Path) -> None:
    reason = "expected\u2028what\u0085was found"
    event = Event(kind=EventKind.WARNING, time_s=0.0, facts={"reason": reason})
    (tmp_path / EVENTS).write_text(f"{event.model_dump_json()}\n")
    assert [found.facts["reason"] for found in read_events(tmp_path)] == [reason]


def test_a_last_line_that_was_cut_within_a_character_is_none(tmp_path: Path) -> None:
    event = Event(kind=EventKind.WARNING, time_s=0.0, site="Zürich")
    (tmp_path / EVENTS).write_bytes(f'{event.model_dump_json()}\n{{"site": "Zü'.encode()[:-1])
    assert [found.site for found in read_events(tmp_path)] == ["Zürich"]


def test_the_coordinators_own_events_are_none_of_the_run() -> None:
    assert [event_of(told) is None for told in TOLD] == [told["kind"] == "run_moved" for told in TOLD]


def test_bytes_are_told_by_the_names_of_sites_and_not_by_who_came_first() -> None:
    came = [own(1, EventKind.SITE_TRAINED, site, 0, bytes=1, num_steps=1, loss=0.5) for site in ("south", "hill")]
    results = gather(event for told in came if (event := event_of(told)))
    assert list(results.bytes_sent) == ["hill", "south"]


def test_events_are_read_once_however_they_arrive(tmp_path: Path) -> None:
    lines = [Event(kind=EventKind.WARNING, time_s=0.0, site=site).model_dump_json() for site in ("Zürich", "b", "c")]
    whole = "".join(f"{line}\n" for line in lines).encode()
    told, found = EventFile(tmp_path), []
    assert told.more() == []
    for end in range(0, len(whole) + 1, 7):
        (tmp_path / EVENTS).write_bytes(whole[:end])
        found += told.more()
    (tmp_path / EVENTS).write_bytes(whole)
    found += told.more()
    assert [event.site for event in found] == ["Zürich", "b", "c"]
    assert told.more() == []


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    """A line that is damaged after it was read is not seen; one behind it is."""
    line = Event(kind=EventKind.WARNING, time_s=0.0).model_dump_json()
    (tmp_path / EVENTS).write_text(f"{line}\n")
    told = EventFile(tmp_path)
    assert len(told.more()) == 1
    (tmp_path / EVENTS).write_text(f"{'x' * len(line)}\n{line}\n")
    assert len(told.more()) == 1


@pytest.mark.parametrize("content", [b"{}\n", b"\xff\n"])
def test_a_line_that_is_no_event_is_damage(content: bytes, tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="no event: the file is damaged"):
        read_events(tmp_path)
