"""What a run has told is read as far as it was written."""

from pathlib import Path

import pytest

from fedward_core.errors import CheckpointError
from fedward_core.events import Event, EventKind
from fedward_models.export.facts import read_facts

FIGURES = {"accuracy": {"value": 0.5, "n": 4, "low": None, "high": None}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose last line was cut within a character, as by a full disk."""
    event = Event(kind=EventKind.EVALUATED, time_s=0.0, stage="only", round=0, site="x", facts={"metrics": FIGURES})
    (tmp_path / "cards.json").write_text("[]")
    (tmp_path / "events.jsonl").write_bytes(f'{event.model_dump_json()}\n{{"site": "Zü'.encode()[:-1])
    return tmp_path


def test_a_last_line_that_was_cut_is_none(run: Path) -> None:
    (figures,) = read_facts(run, "only").evaluations
    assert figures["accuracy"].n == 4


def test_figures_of_another_stage_are_not_told(run: Path) -> None:
    assert read_facts(run, "other").evaluations == ()


def test_figures_are_those_of_the_last_round_alone(run: Path) -> None:
    """A site that fell silent has told nothing of the model that goes home."""
    lines = [
        Event(
            kind=EventKind.EVALUATED, time_s=0.0, stage="later", round=number, site=site, facts={"metrics": FIGURES}
        ).model_dump_json()
        for number, site in ((1, "x"), (1, "y"), (3, "x"))
    ]
    (run / "events.jsonl").write_text("\n".join((*lines, "")))
    assert len(read_facts(run, "later").evaluations) == 1


def test_a_whole_line_that_is_no_event_is_damage(run: Path) -> None:
    with (run / "events.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_facts(run, "only")
