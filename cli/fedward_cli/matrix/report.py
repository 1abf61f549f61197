"""The matrix for people: the backbones of each method, a column for each mode, and why pairs are refused."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from fedward_cli.display.tables import folding
from fedward_cli.matrix.matrix import Cell, Matrix, Mode
from fedward_core import __version__

_COLOURS = {"trained": "green", "failed": "red", "refused": "dim"}


def matrix_table(matrix: Matrix) -> Table:
    """A row for each method, with the backbones on which it looks the same; cells name the engines that were seen."""
    table = folding("method", "backbones", *Mode, title="What was seen to train", title_justify="left", show_lines=True)
    for method, backbones, marks in _rows(matrix, _coloured):
        table.add_row(method, ", ".join(backbones) or "-", *marks)
    return table


def notes(matrix: Matrix) -> tuple[str, ...]:
    """What must be known to read the table, and the zoo's own reasons for pairs that it refuses."""
    return (
        "An engine is named where the loss fell in a few rounds at simulated hospitals, bytes were counted and the "
        f"weights were written. {_tried_with(matrix.cells)}",
        *(f"{cell.method} refuses {', '.join(names)}: {cell.reason}" for cell, names in _refusals(matrix.cells)),
        *(f"{cell.method} on {cell.backbone}, {cell.mode}, {cell.engine}: {cell.reason}" for cell in _failed(matrix)),
    )


def matrix_markdown(matrix: Matrix) -> str:
    """The same table as Markdown."""
    lines = ["| method | backbones | " + " | ".join(Mode) + " |", "|---|---|" + "---|" * len(Mode)]
    for method, backbones, marks in _rows(matrix, _word):
        named = ", ".join(f"`{backbone}`" for backbone in backbones) or "-"
        lines.append(f"| `{method}` | {named} | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


def _rows(matrix: Matrix, word: Callable[[Cell], str]) -> Iterator[tuple[str, list[str], tuple[str, ...]]]:
    """Method, backbones and the marks of all modes; a pair that is refused in every mode is in no row."""
    rows: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (method, backbone), cells in _by_pair(matrix.cells).items():
        if any(cell.state != "refused" for cell in cells):
            marks = tuple(", ".join(word(cell) for cell in cells if cell.mode is mode) for mode in Mode)
            rows.setdefault((method, marks), []).append(backbone)
    for (method, marks), backbones in rows.items():
        yield method, [name for name in backbones if name], marks


def _tried_with(cells: Sequence[Cell]) -> str:
    """Which version has tried the cells: what another one did may look otherwise today."""
    others = Counter(cell.version for cell in cells if cell.version != __version__)
    if not others:
        return f"Tried with version {__version__}."
    told = ", ".join(f"{version} ({number} of {len(cells)})" for version, number in sorted(others.items()))
    return f"Tried with version {__version__}, but for cells of another one, which --run tries anew: {told}."


def _by_pair(cells: Iterable[Cell]) -> dict[tuple[str, str], list[Cell]]:
    pairs: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        pairs.setdefault((cell.method, cell.backbone), []).append(cell)
    return pairs


def _coloured(cell: Cell) -> str:
    return f"[{_COLOURS[cell.state]}]{escape(_word(cell))}[/]"


def _word(cell: Cell) -> str:
    return cell.engine if cell.state == "trained" else f"{cell.engine}: {cell.state}"


def _refusals(cells: Iterable[Cell]) -> list[tuple[Cell, list[str]]]:
    """One refused cell for each method and reason, with all backbones that it concerns."""
    reasons: dict[tuple[str, str], tuple[Cell, list[str]]] = {}
    for cell in cells:
        if cell.state == "refused":
            names = reasons.setdefault((cell.method, cell.reason), (cell, []))[1]
            if cell.backbone not in names:
                names.append(cell.backbone)
    return list(reasons.values())


def _failed(matrix: Matrix) -> list[Cell]:
    return [cell for cell in matrix.cells if cell.state == "failed"]
