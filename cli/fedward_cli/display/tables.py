"""Tables for people: on the terminal and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from fedward_cli.simulation.averages import mean_over_sites, pooled
from fedward_cli.simulation.results import Results
from fedward_cli.simulation.site_prior import SITE_PRIOR
from fedward_core.metric import Metrics
from fedward_core.robustness import AUTO_ATTACK_ACCURACY, PGD_ACCURACY

FIGURES = ("accuracy", "balanced_accuracy", "auroc", "dice", PGD_ACCURACY, AUTO_ATTACK_ACCURACY)
_WORDS = {"auroc": "AUROC", PGD_ACCURACY: "accuracy under PGD", AUTO_ATTACK_ACCURACY: "accuracy under AutoAttack"}
FIGURES_NOTE = (
    "Intervals are of 95 % and resample patients; n counts images. '-' is not defined at a site, such as AUROC with "
    "one class, and not part of the mean; a site with one class shows its recall."
)
NOTE = (
    f"{FIGURES_NOTE} 'site prior only' names each site's commonest training class whatever the image shows; AUROC of "
    "all images would need every prediction."
)


def folding(*heads: str, **settings: Any) -> Table:
    """A table that folds what is too wide for the screen, where rich would cut off an id, a digest or a figure.

    Args:
        heads: The heads of its columns, as markup.
        settings: Those of ``rich.table.Table``.
    """
    return Table(*(Column(head, overflow="fold") for head in heads), **settings)


def results_table(results: Results, title: str, prior: Mapping[str, Metrics] | None = None) -> Table:
    """The final figures of a run: a row for each site, one for their mean, and one for all images together.

    Args:
        results: The run's results.
        title: What stands above.
        prior: What each site would reach by naming its commonest class, so that nobody takes that for learning.
    """
    names = figure_names(results)
    header = (escape(words(name)) for name in names)
    table = folding("site", *header, "sent", title=escape(title), title_justify="left")
    for site, metrics in results.final.items():
        table.add_row(escape(site), *(cell(metrics, name) for name in names), as_bytes(results.bytes_sent.get(site, 0)))
    table.add_section()
    sent = f"{as_bytes(sum(results.bytes_sent.values()))} in all"
    table.add_row("mean of sites", *(str(mean_over_sites(results.final, name)) for name in names), sent, style="bold")
    if prior:
        table.add_row("all images", *(_of_all_images(results.final, name) for name in names), "")
        table.add_section()
        table.add_row(f"{SITE_PRIOR}, mean", *(str(mean_over_sites(prior, name)) for name in names), "")
        table.add_row(f"{SITE_PRIOR}, all images", *(_of_all_images(prior, name) for name in names), "")
    return table


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


def _of_all_images(sites: Mapping[str, Metrics], name: str) -> str:
    found = pooled(sites, name)
    return "-" if found.value is None else str(found)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def words(name: str) -> str:
    """A key as words."""
    return _WORDS.get(name, name.replace("_", " "))


def as_bytes(count: int) -> str:
    """Bytes in the unit that suits, e.g. ``12.4 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
