"""What the pictures of runs and comparisons show, and that it can be read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from fedward_cli.comparison.comparison import Comparison
from fedward_cli.comparison.picture import draw_comparison
from fedward_cli.comparison.row import Figure as Value
from fedward_cli.comparison.row import Row
from fedward_cli.display.curves import draw_curves
from fedward_cli.display.explanation_picture import draw_image
from fedward_cli.display.palette import palette
from fedward_cli.display.reliability_picture import draw_reliability
from fedward_cli.simulation.results import Moment, Results
from fedward_core.metric import Metric

SITES = ("hill", "north")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that would be written."""
    found: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: found.append(self))
    return found


def moments(stage: str, rounds: int) -> list[Moment]:
    return [Moment(stage=stage, round=round_, site=site) for round_ in range(rounds) for site in SITES]


def test_a_figure_that_was_evaluated_once_is_seen_and_stages_are_not_joined(drawn: list[Any], tmp_path: Path) -> None:
    losses = {moment: 1.0 for stage, rounds in (("pretrain", 3), ("finetune", 2)) for moment in moments(stage, rounds)}
    evaluations = {moment: {"accuracy": Metric(value=0.5, n=9)} for moment in moments("finetune", 2)[-2:]}
    draw_curves(Results(losses=losses, evaluations=evaluations), tmp_path / "curves.png", title="study")
    (figure,) = drawn
    loss, accuracy = ([line for line in axes.get_lines() if line.get_label() in SITES] for axes in figure.axes)
    assert [line.get_xdata().tolist() for line in loss] == [[1, 2, 3], [4, 5]] * 2
    assert [line.get_xdata().tolist() for line in accuracy] == [[5], [5]]
    assert {line.get_marker() for line in (*loss, *accuracy)} == {"."}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(SITES)


@pytest.mark.parametrize("count", [1, 10, 11, 20])
def test_colours_differ_as_long_as_there_are_so_many(count: int) -> None:
    assert len(set(palette(count))) == count


def test_the_recall_of_one_class_is_not_drawn_as_another_figure(drawn: list[Any], tmp_path: Path) -> None:
    sites = {"hill": Value(value=1.0, n=9, recall=True), "north": Value(value=0.5, n=9)}
    mean = Value(value=0.5, n=9)
    row = Row(arm="scratch", sites=sites, mean=mean, by_seed=(0.5,), pooled=mean, worst="north")
    draw_comparison(Comparison(metric="auroc", seeds=(0,), rows=(row,)), tmp_path / "comparison.png")
    heights = [bar.get_height() for bar in drawn[0].axes[0].patches]
    assert np.isnan(heights[0])
    assert heights[1:] == [0.5, 0.5]


def test_titles_of_reliability_panels_do_not_meet(drawn: list[Any], tmp_path: Path) -> None:
    one = SimpleNamespace(
        counts=np.array([0, 5, 5]),
        accuracy=np.array([np.nan, 0.5, 1.0]),
        error=Metric(value=0.051, n=10, low=0, high=1),
    )
    sites: Any = {f"university-hospital-of-the-north-{number}": one for number in range(6)}
    draw_reliability(sites, tmp_path / "reliability.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert len(boxes) == 6
    assert not any(first.overlaps(second) for index, first in enumerate(boxes) for second in boxes[index + 1 :])


@pytest.mark.parametrize(("least", "says"), [(-1.0, "against it"), (0.0, "what counted")])
def test_the_colours_of_a_map_are_told_beside_the_class_that_is_named(
    drawn: list[Any], tmp_path: Path, least: float, says: str
) -> None:
    heat = np.linspace(least, 1.0, 16).reshape(4, 4)
    draw_image(tmp_path / "image.png", np.zeros((4, 4)), heat, title="named: pneumonia")
    plain, covered = drawn[0].axes
    assert plain.get_title() == "named: pneumonia"
    assert covered.get_title().endswith(says)
