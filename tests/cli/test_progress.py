"""What a run looks like while it happens."""

import io
from typing import Any

import pytest
from rich.console import Console

from fedward_cli.display.progress import shown
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

SPEC = Spec.parse(
    {"name": "drill", "dataset": {"name": "x"}, "stages": [{"name": "only", "method": "rehearsal", "rounds": 40}]}
)


def event(kind: EventKind, round_: int | None = None, site: str | None = None, **facts: Any) -> Event:
    return Event(kind=kind, time_s=0.0, stage="only", round=round_, site=site, facts=facts)


def finished(round_: int) -> Event:
    return event(EventKind.ROUND_FINISHED, round_, loss=0.25, sites=["a", "b"], seconds=1.5)


def evaluated(round_: int, site: str, value: float | None) -> Event:
    metrics = {"loss": {"value": 9.0, "n": 3}, "balanced_accuracy": {"value": value, "n": 3}}
    return event(EventKind.EVALUATED, round_, site, metrics=metrics)


def text_of(events: list[Event], *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    with shown(console, SPEC, 3) as listen:
        for each in events:
            listen(each)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pipe_gets_about_ten_lines_a_stage_with_loss_pace_and_answers() -> None:
    lines = text_of([finished(round_) for round_ in range(40)], terminal=False).splitlines()
    assert lines[0] == "only: round 1 of 40, 1.50 s/round, loss 0.2500, 2/3 sites"
    assert lines[-1].startswith("only: round 40 of 40")
    assert len(lines) == 11


def test_a_terminal_gets_a_bar_for_each_stage() -> None:
    text = text_of([event(EventKind.STAGE_STARTED, rounds=40, parameters=10, notes=[]), finished(9)], terminal=True)
    for expected in ("only", "10/40 rounds", "1.50 s/round", "loss 0.2500", "2/3 sites"):
        assert expected in text


@pytest.mark.parametrize("terminal", [False, True])
def test_the_mean_over_sites_of_the_newest_evaluation_is_shown(terminal: bool) -> None:
    newest = [evaluated(9, "a", 0.5), evaluated(9, "b", 0.6), evaluated(9, "c", None)]
    assert "balanced accuracy 0.550" in text_of([evaluated(4, "a", 0.9), *newest, finished(39)], terminal=terminal)


def test_a_pipe_gets_one_line_for_an_evaluation_even_if_sites_are_warned_of() -> None:
    warning = event(EventKind.WARNING, 9, "a", reason="one class")
    events = [evaluated(9, "a", 0.5), warning, evaluated(9, "b", 0.6), finished(10), finished(11)]
    assert text_of(events, terminal=False).count("only: after round 10 balanced accuracy 0.550") == 1


def test_without_a_usual_figure_the_loss_is_shown_and_without_any_it_is_said() -> None:
    loss = event(EventKind.EVALUATED, 3, "a", metrics={"loss": {"value": 0.5, "n": 3}})
    nothing = event(EventKind.EVALUATED, 3, "a", metrics={"auroc": {"value": None, "n": 3}})
    assert "evaluated loss 0.500" in text_of([loss, finished(4)], terminal=False)
    assert "without a figure that is defined" in text_of([nothing, finished(4)], terminal=False)


@pytest.mark.parametrize("terminal", [False, True])
def test_what_went_wrong_is_said_at_once_and_as_it_was_written(terminal: bool) -> None:
    text = text_of(
        [
            event(EventKind.SITE_DROPPED, 2, "a", reason="it sent [bold]nonsense[/]"),
            event(EventKind.WARNING, 2, "b", reason="one class takes 99%"),
            event(EventKind.RUN_RESUMED),
            event(EventKind.STAGE_REUSED),
        ],
        terminal=terminal,
    )
    for expected in (
        "a is left out in only, round 3: it sent [bold]nonsense[/]",
        "Warning at b in only, round 3: one class takes 99%",
        "Resumed",
        "only: taken from an earlier run",
    ):
        assert expected in text


def test_a_stage_starts_with_its_size_and_what_it_took_over() -> None:
    text = text_of([event(EventKind.STAGE_STARTED, rounds=40, parameters=1234, notes=["took over 3"])], terminal=False)
    assert "only: 40 rounds, 1,234 weights" in text
    assert "took over 3" in text
