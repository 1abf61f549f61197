"""The matrix of the zoo: every method on every backbone, at one site, federated and personalised, on each engine.

A cell is tried, never claimed: three simulated hospitals train a tiny network for a few rounds. It has ``trained`` only
if the loss fell, the bytes that travelled are on record, and the weights were written and can be read. A pair that the
zoo refuses is ``refused``, in the zoo's own words. What was seen lies beside this file, and `fedward zoo matrix` shows
it; `fedward zoo matrix --run` tries anew, on this machine and with whatever else is registered.
"""

from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Literal

from fedward_core import __version__, registry
from fedward_core.config import Frozen
from fedward_core.errors import SpecError
from fedward_core.spec import MethodConfig

RECORD = "record.json"


class Mode(StrEnum):
    """How a method is trained."""

    LOCAL = "local"
    FEDERATED = "federated"
    PERSONALISED = "personalised"


Place = tuple[str, str, Mode, str]
"""Method, backbone, mode and engine of a cell."""


class Cell(Frozen):
    """What was seen of one method on one backbone.

    Attributes:
        method: The method.
        backbone: Its network; empty for a method without one.
        mode: How it was trained.
        engine: What carried it out.
        state: What came out.
        reason: Why it was refused or failed.
        personalisation: What kept a part private, if something did.
        losses: The mean training loss of the first and of the last round.
        bytes_sent: By all sites over all rounds.
        version: Of Fedward, which tried it.
    """

    method: str
    backbone: str
    mode: Mode
    engine: str
    state: Literal["trained", "refused", "failed"]
    reason: str = ""
    personalisation: str = ""
    losses: tuple[float, float] | None = None
    bytes_sent: int | None = None
    version: str = __version__


class Matrix(Frozen):
    """Cells that were tried, each with a version of its own."""

    cells: tuple[Cell, ...] = ()


def recorded() -> Matrix:
    """What was seen until this version was made."""
    return Matrix.model_validate_json(files("fedward_cli.matrix").joinpath(RECORD).read_text(encoding="utf-8"))


def pairs() -> Iterator[tuple[str, str]]:
    """Every registered method with every backbone; a method without a backbone comes once."""
    for method in registry.names("methods"):
        config: type[MethodConfig] = registry.resolve("methods", method)
        for backbone in registry.names("backbones") if config.needs_backbone else ("",):
            yield method, backbone


def keep(seen: Matrix, path: Path) -> None:
    """Write what was seen into a record, whose cells that were not tried are kept.

    Raises:
        SpecError: The file is no record.
        CheckpointError: It cannot be written.
    """
    from fedward_core.atomic import replacing  # slow to import, and only `--record` needs it

    cells = {place_of(cell): cell for cell in (*on_record(path), *seen.cells)}
    everything = Matrix(cells=tuple(cells[place] for place in sorted(cells)))
    with replacing(path) as temporary:
        temporary.write_text(everything.model_dump_json(indent=1) + "\n", encoding="utf-8")


def on_record(path: Path) -> tuple[Cell, ...]:
    """The cells of a record; none where there is no file.

    Raises:
        SpecError: It is no record.
    """
    if not path.exists():
        return ()
    try:
        return Matrix.model_validate_json(path.read_text(encoding="utf-8")).cells
    except ValueError as error:
        raise SpecError(f"'{path.name}' is no record of the matrix: name another file, or remove it") from error


def place_of(cell: Cell) -> Place:
    """Where a cell stands."""
    return cell.method, cell.backbone, cell.mode, cell.engine
