"""A comparison for people and programs: the table, what must be known to read it, and the files."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedward_cli.comparison.comparison import Comparison
from fedward_cli.comparison.row import Row
from fedward_cli.display.consoles import output
from fedward_cli.display.tables import as_bytes, folding, markdown, words
from fedward_cli.simulation.site_prior import SITE_PRIOR

_ENDLESS = 10_000  # columns of a screen
_EFFORT = ("rounds", "steps a site", "sent a site", "sent")


def show_comparison(comparison: Comparison) -> None:
    """Print the table with what must be known to read it."""
    console = output()
    console.print(comparison_table(comparison, console))
    for note in notes(comparison):
        console.print(f"[dim]{escape(note)}[/]")


def comparison_table(comparison: Comparison, console: Console) -> Table:
    """A row for each arm; on a screen that is too narrow for all figures side by side, a column for each."""
    header, rows = cells(comparison)
    table = _table(comparison, header, rows)
    endless = console.options.update(width=_ENDLESS)
    if console.measure(table, options=endless).maximum <= console.width:
        return table
    turned, *figures = zip(header, *rows, strict=True)
    return _table(comparison, turned, figures)


def cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table."""
    to_first = f"to {comparison.rows[0].arm}"
    header = ["arm", *comparison.sites, "mean of sites", "pooled", to_first, "worst site", "gap", *_EFFORT]
    return header, [_cells(row, comparison.sites) for row in comparison.rows]


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What must be known to read the table."""
    count = len(comparison.seeds)
    metric = words(comparison.metric)
    sentences = [
        f"{metric[0].upper()}{metric[1:]} of the evaluated split over {count} seed{'s' * (count > 1)}; "
        f"{_intervals(comparison)}",
        "n counts images. The mean of sites weighs every site alike; pooled is over all images together; the gap is "
        "from the worst site to the best.",
        _equality(comparison),
        f"'{SITE_PRIOR}' names each site's commonest training class whatever the image shows.",
    ]
    if any(figure.recall for row in comparison.rows for figure in row.sites.values()):
        sentences.append("A site with test images of one class shows its recall, and is not part of the mean.")
    if all(row.pooled.value is None for row in comparison.rows[:-1]):
        sentences.append(f"{metric} of pooled images would need every prediction, which stays at its site.")
    return (*sentences, *comparison.remarks, *_collapses(comparison))


def write_comparison(out: Path, comparison: Comparison) -> None:
    """Write ``comparison.md``, ``.csv``, ``.json`` and ``.png``."""
    from fedward_cli.comparison.picture import draw_comparison  # matplotlib is slow to import

    header, rows = cells(comparison)
    text = markdown(header, rows) + "\n" + "\n".join(f"- {note}" for note in notes(comparison)) + "\n"
    (out / "comparison.md").write_text(text, encoding="utf-8")
    (out / "comparison.json").write_text(comparison.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _write_csv(out / "comparison.csv", comparison)
    draw_comparison(comparison, out / "comparison.png")


def _table(comparison: Comparison, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = folding(*map(escape, header), title=words(comparison.metric), title_justify="left")
    for row in rows:
        table.add_row(*map(escape, row), style="dim" if row[0] == SITE_PRIOR else None)
    return table


def _write_csv(path: Path, comparison: Comparison) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("arm", "place", "metric", "value", "n", "difference", "low", "high"))
        for row in comparison.rows:
            for site, figure in row.sites.items():
                metric = "recall" if figure.recall else comparison.metric
                writer.writerow((row.arm, site, metric, figure.value, figure.n, None, None, None))
            difference = row.difference.model_dump().values() if row.difference else (None, None, None)
            writer.writerow((row.arm, "mean", comparison.metric, row.mean.value, row.mean.n, *difference))
            writer.writerow((row.arm, "pooled", comparison.metric, row.pooled.value, row.pooled.n, None, None, None))
            if row.effort:
                for name, value in {**row.effort.model_dump(), "bytes_sent": row.bytes_sent}.items():
                    writer.writerow((row.arm, "all", name, value, None, None, None, None))


def _cells(row: Row, sites: Sequence[str]) -> list[str]:
    figures = [str(row.sites[site]) if site in row.sites else "" for site in sites]
    difference = str(row.difference) if row.difference else ""
    gap = f"{row.gap:.3f}" if row.gap is not None else ""
    return [row.arm, *figures, str(row.mean), str(row.pooled), difference, row.worst or "", gap, *_effort(row)]


def _effort(row: Row) -> list[str]:
    if row.effort is None:
        return [""] * len(_EFFORT)
    effort = row.effort
    return [str(effort.rounds), effort.steps, as_bytes(effort.bytes_of_site), as_bytes(row.bytes_sent)]


def _intervals(comparison: Comparison) -> str:
    if comparison.resampled == "seeds":
        reason = (
            "differences are paired by seed, as predictions of single images are not at hand for all arms and sites"
        )
        return f"intervals resample the seeds; {reason}." if len(comparison.seeds) > 1 else f"no intervals; {reason}."
    return (
        "intervals resample the seeds, and within them the patients, the same for every arm and seed; differences are "
        "paired by seed and patient."
    )


def _equality(comparison: Comparison) -> str:
    """What all arms spent alike, so that nobody takes longer training for a better method."""
    efforts = [row.effort for row in comparison.rows if row.effort]
    spent: dict[str, set[object]] = {
        "rounds": {effort.rounds for effort in efforts},
        "steps a site": {effort.steps for effort in efforts},
        "bytes a site": {effort.bytes_of_site for effort in efforts},
    }
    alike = [name for name, values in spent.items() if len(values) == 1]
    unlike = [name for name, values in spent.items() if len(values) > 1]
    return f"Equal in all arms: {', '.join(alike) or 'nothing'}. Not equal: {', '.join(unlike) or 'nothing'}."


def _collapses(comparison: Comparison) -> Iterator[str]:
    for row in comparison.rows:
        if row.collapses:
            where = "; ".join(map(str, row.collapses))
            yield f"Warning: '{row.arm}' gives more than 95% of its predictions to one class at {where}."
