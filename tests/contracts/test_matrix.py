"""The matrix of the zoo: every method on every backbone trains in every mode, or is refused in the zoo's own words."""

from pathlib import Path

import pytest

from fedward_cli.matrix import trying
from fedward_cli.matrix.matrix import Cell, Matrix, Mode, keep, pairs, recorded
from fedward_cli.matrix.report import matrix_markdown, notes
from fedward_cli.matrix.trying import try_all, try_cell
from fedward_core import __version__, registry
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.events import Listener
from fedward_server.engines.inline import InlineEngine

EVERY = [(method, backbone, mode) for method, backbone in pairs() for mode in Mode]
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated hospitals are made once for all cells."""
    return tmp_path_factory.mktemp("matrix")


def seen(engine: str) -> dict[tuple[str, str, Mode], Cell]:
    return {(cell.method, cell.backbone, cell.mode): cell for cell in recorded().cells if cell.engine == engine}


def test_every_registered_pair_is_on_record_in_every_mode() -> None:
    assert set(seen("inline")) == set(EVERY)


def test_what_was_tried_on_ray_gave_the_losses_of_one_process() -> None:
    on_ray, inline = seen("ray"), seen("inline")
    assert {key: cell.losses for key, cell in on_ray.items()} == {key: inline[key].losses for key in on_ray}


def test_nothing_on_record_has_failed_and_a_refusal_has_its_reason() -> None:
    assert not [cell for cell in recorded().cells if cell.state == "failed"]
    assert all(cell.reason for cell in recorded().cells if cell.state == "refused")


def test_every_method_trains_somewhere_in_every_mode() -> None:
    trained = {(cell.method, cell.mode) for cell in recorded().cells if cell.state == "trained"}
    assert trained == {(method, mode) for method in registry.names("methods") for mode in Mode}


def test_a_cell_is_green_only_if_the_loss_fell_and_bytes_were_counted() -> None:
    for cell in recorded().cells:
        if cell.state == "trained" and cell.method != "rehearsal":
            assert cell.losses is not None
            assert cell.losses[1] < cell.losses[0]
            assert cell.bytes_sent


def test_the_first_page_shows_the_matrix_on_record() -> None:
    assert matrix_markdown(recorded()) in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", Mode)
def test_a_cell_is_tried_anew(mode: Mode, folder: Path) -> None:
    assert try_cell("supervised", "small_cnn", mode, "inline", folder).state == "trained"


def test_a_pair_that_does_not_fit_is_refused_with_the_zoos_reason(folder: Path) -> None:
    cell = try_cell("mae", "small_cnn", Mode.LOCAL, "inline", folder)
    assert (cell.state, "vision transformer" in cell.reason) == ("refused", True)


def test_a_cell_that_left_no_weights_has_not_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = InlineEngine.run

    def lose_weights(engine: InlineEngine, job: Job, listen: Listener) -> None:
        whole(engine, job, listen)
        (job.out / "stages" / "cell" / "final.safetensors").unlink()

    monkeypatch.setattr(InlineEngine, "run", lose_weights)
    assert try_cell("rehearsal", "", Mode.LOCAL, "inline", folder).state == "failed"


def test_an_interrupted_record_is_completed_and_what_is_refused_is_tried_on_one_engine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, tried, interruptions = tmp_path / "record.json", [], ["once"]

    def stand_in(method: str, backbone: str, mode: Mode, engine: str, folder: Path) -> Cell:
        tried.append((backbone, mode, engine))
        if len(tried) == 20 and interruptions:
            interruptions.clear()
            raise KeyboardInterrupt
        state = "refused" if backbone == "lenet" else "trained"
        return Cell(method=method, backbone=backbone, mode=mode, engine=engine, state=state)

    monkeypatch.setattr(trying, "try_cell", stand_in)
    with pytest.raises(KeyboardInterrupt):
        try_all(["inline", "deployment"], ["supervised"], record=record)
    interrupted = tried.pop()
    try_all(["inline", "deployment"], ["supervised"], record=record, missing=True)
    assert tried.count(interrupted) == 1
    assert len(set(tried)) == len(tried) == len(Matrix.model_validate_json(record.read_text()).cells)
    assert {engine for backbone, _, engine in tried if backbone == "lenet"} == {"inline"}


@pytest.mark.parametrize(("engines", "methods"), [(["inlin"], ["mae"]), (["inline"], ["maee"])])
def test_a_name_that_is_none_is_refused_before_any_cell_could_seem_to_refuse_it(
    engines: list[str], methods: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="Did you mean"):
        try_all(engines, methods, record=tmp_path / "record.json")
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize("text", ["{}[", '{"version": "0.0.7", "cells": [5]}'])
def test_a_file_that_is_no_record_is_not_written_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text(text)
    with pytest.raises(SpecError, match="no record of the matrix"):
        keep(Matrix(), tmp_path / "notes.json")
    assert (tmp_path / "notes.json").read_text() == text


def test_cells_of_a_record_that_were_not_tried_again_are_kept(tmp_path: Path) -> None:
    old = Cell(method="a", backbone="b", mode=Mode.LOCAL, engine="inline", state="failed")
    new = old.model_copy(update={"state": "trained"})
    other = old.model_copy(update={"backbone": "c"})
    keep(Matrix(cells=(old, other)), tmp_path / "record.json")
    keep(Matrix(cells=(new,)), tmp_path / "record.json")
    assert Matrix.model_validate_json((tmp_path / "record.json").read_text()).cells == (new, other)


def test_every_cell_of_a_record_tells_which_version_tried_it(tmp_path: Path) -> None:
    old = Cell(method="a", backbone="b", mode=Mode.LOCAL, engine="inline", state="trained", version="0.0.7")
    new = Cell(method="a", backbone="c", mode=Mode.LOCAL, engine="inline", state="trained")
    keep(Matrix(cells=(old,)), tmp_path / "record.json")
    keep(Matrix(cells=(new,)), tmp_path / "record.json")
    both = Matrix.model_validate_json((tmp_path / "record.json").read_text())
    assert [cell.version for cell in both.cells] == ["0.0.7", __version__]
    assert f"Tried with version {__version__}." in notes(Matrix(cells=(new,)))[0]
    assert "but for cells of another one, which --run tries anew: 0.0.7 (1 of 2)." in notes(both)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backbone", "mode"), EVERY)
def test_every_cell_is_as_on_record(method: str, backbone: str, mode: Mode, folder: Path) -> None:
    expected = seen("inline")[method, backbone, mode]
    assert try_cell(method, backbone, mode, "inline", folder).state == expected.state
