"""On a narrow screen nothing of an id, a digest or a figure is cut off, and no sign that a screen lacks is an error."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from fedward_cli.display import listing
from fedward_cli.display.listing import show_listed
from fedward_cli.display.progress import Bars
from fedward_cli.main import app
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec
from fedward_models.data import generate

RUN = "covid-network-of-seven-hospitals-1a2b3c4d"


def screen(width: int) -> Console:
    return Console(file=StringIO(), force_terminal=True, width=width, color_system=None)


def seen(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_an_id_in_a_list_stands_there_whole(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = screen(width)
    monkeypatch.setattr(listing, "output", lambda: console)
    show_listed([{"id": RUN}], ("run", "reason"), lambda run: (run["id"], "too few sites " * 9), as_json=False)
    cells = [line.split("│")[1].strip() for line in seen(console).splitlines() if line.startswith("│")]
    assert "".join(cells) == RUN


def test_a_sign_that_the_terminal_cannot_show_ends_no_command(tmp_path: Path) -> None:
    generate(tmp_path, sites=1, images_per_site=20, image_px=16)
    (tmp_path / "north.npz").rename(tmp_path / "Köln.npz")
    result = CliRunner(charset="ascii").invoke(app, ["data", "inspect", str(tmp_path), "--px", "16"])
    assert result.exit_code == 0, result.output
    assert r"K\xf6ln" in result.stdout


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_bars_of_a_run_show_loss_and_figure_whole(width: int) -> None:
    stage: dict[str, Any] = {"name": "personalise", "method": "rehearsal", "rounds": 40}
    console = screen(width)
    bars = Bars(console, Spec.parse({"name": "drill", "dataset": {"name": "x"}, "stages": [stage]}), 3)
    metrics = {"balanced_accuracy": {"value": 0.812, "n": 3}}
    finished = {"loss": 0.4821, "sites": ["a", "b"], "seconds": 12.5}
    for kind, site, facts in (
        (EventKind.ROUND_FINISHED, None, finished),
        (EventKind.EVALUATED, "a", {"metrics": metrics}),
    ):
        bars(Event(kind=kind, time_s=0.0, stage="personalise", round=11, site=site, facts=facts))
    console.print(bars.progress.get_renderable())
    for expected in ("personalise", "12/40", "loss 0.4821", "balanced accuracy 0.812"):
        assert expected in seen(console)


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *path, name)


@pytest.mark.parametrize("words", tuple(commands(get_command(app))), ids=" ".join)
def test_no_help_is_cut_off_on_a_narrow_screen(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert shown.exit_code == 0
    assert "…" not in shown.stdout
