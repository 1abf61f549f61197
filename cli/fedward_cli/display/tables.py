"""Tables for people: on the terminal and as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from fedward_cli.simulation.averages import mean_over_sites, pooled
from fedward_cli.simulation.results import Results
from fedward_cli.simulation.site_prior import SITE_PRIOR
from fedward_core.metric import WITHOUT_PROMPT, Metric, Metrics
from fedward_core.robustness import AUTO_ATTACK_ACCURACY, PGD_ACCURACY

FIGURES = ("accuracy", WITHOUT_PROMPT, "balanced_accuracy", "auroc", "dice", PGD_ACCURACY, AUTO_ATTACK_ACCURACY)
_WORDS = {
    WITHOUT_PROMPT: "accuracy without prompt",
    "auroc": "AUROC",
    PGD_ACCURACY: "accuracy under PGD",
    AUTO_ATTACK_ACCURACY: "accuracy under AutoAttack",
}
FIGURES_NOTE = (
    "Intervals are of 95 % and resample patients; n counts images. '-' is not defined at a site, such as AUROC with "
    "one class, and not part of the mean; a site with one class shows its recall."
)
PRIOR_NOTE = (
    "'site prior only' names each site's commonest training class whatever the image shows; AUROC of all images would "
    "need every prediction."
)


def folding(*heads: str, **settings: Any) -> Table:
    """A table that folds what is too wide for the screen, where rich would cut off an id, a digest or a figure.

    Args:
        heads: The heads of its columns, as markup.
        settings: Those of ``rich.table.Table``.
    """
    return Table(*(Column(head, overflow="fold") for head in heads), **settings)


def results_table(
    results: Results, title: str, prior: Mapping[str, Metrics] | None = None, *, sent: bool = True
) -> Table:
    """The final figures of a run: a row for each site and, of several, one for their mean and one for all images.

    Args:
        results: The run's results.
        title: What stands above.
        prior: What each site would reach by naming its commonest class, so that nobody takes that for learning.
        sent: Whether to tell what each site has sent.
    """
    names = figure_names(results)
    header = (*(escape(words(name)) for name in names), *(("sent",) if sent else ()))
    table = folding("site", *header, title=escape(title), title_justify="left")
    for site, metrics in results.final.items():
        bytes_sent = (as_bytes(results.bytes_sent.get(site, 0)),) if sent else ()
        table.add_row(escape(site), *(cell(metrics, name) for name in names), *bytes_sent)
    table.add_section()
    if sent or len(results.final) > 1:
        _add_totals(table, results, names, sent=sent, pooled_too=bool(prior))
    for row in _rows_of(prior or {}, SITE_PRIOR, names):
        table.add_row(*row)
    return table


def _add_totals(table: Table, results: Results, names: Sequence[str], *, sent: bool, pooled_too: bool) -> None:
    in_all = (f"{as_bytes(sum(results.bytes_sent.values()))} in all",) if sent else ()
    table.add_row(
        "mean of sites", *(str(mean_over_sites(results.final, name)) for name in names), *in_all, style="bold"
    )
    if pooled_too:
        table.add_row("all images", *(_or_dash(pooled(results.final, name)) for name in names))
    table.add_section()


def _rows_of(sites: Mapping[str, Metrics], what: str, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The mean of several sites and the figures of all their images, which are the same at one."""
    means = (_or_dash(mean_over_sites(sites, name)) for name in names)
    if len(sites) == 1:
        yield (what, *means)
    elif sites:
        yield (f"{what}, mean", *means)
        yield (f"{what}, all images", *(_or_dash(pooled(sites, name)) for name in names))


def figure_names(results: Results) -> tuple[str, ...]:
    """The usual figures that a run has; for one that has none of them, all it has."""
    found = {name: None for metrics in results.final.values() for name in metrics}
    return tuple(name for name in FIGURES if name in found) or tuple(found)


def cell(metrics: Metrics, name: str) -> str:
    """One figure of one site; where balanced accuracy would need a second class, the recall of the only one."""
    if name not in metrics:
        return ""
    if name == "balanced_accuracy" and metrics[name].value is None and "accuracy" in metrics:
        return f"recall {metrics['accuracy']}"
    return str(metrics[name])


def _or_dash(found: Metric) -> str:
    return "-" if found.value is None else str(found)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def words(name: str) -> str:
    """A key as words; after a slash stands the name of a class, as it is."""
    key, slash, of_class = name.partition("/")
    return _WORDS.get(key, key.replace("_", " ")) + slash + of_class


def as_bytes(count: int) -> str:
    """Bytes in the unit that suits, e.g. ``12.4 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
