"""Tables of ``fedward data``: what a site holds, and how sites differ."""

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from fedward_cli.display.consoles import output
from fedward_cli.display.tables import folding
from fedward_core.cards import DatasetCard, Split

if TYPE_CHECKING:
    from fedward_core.arrays import Array
    from fedward_models.data.inspection.heterogeneity import Heterogeneity
    from fedward_models.data.inspection.inspection import SiteSummary

HIDDEN = "<5"


def show_sites(summaries: Sequence["SiteSummary"]) -> None:
    """Counts of each site and split, and the files that were skipped."""
    table = folding("site", "split", "images", "patients", "classes", "sizes", "skipped", title_justify="left")
    for summary in summaries:
        for index, part in enumerate(Split):
            of_site = (_sizes(summary), str(summary.card.num_skipped)) if index == 0 else ("", "")
            card = summary.card
            counts = (str(card.num_images[part]), str(card.num_patients[part]))
            site, classes = escape(card.site) if index == 0 else "", escape(_classes(card, part))
            table.add_row(site, part, *counts, classes, *of_site)
        table.add_section()
    output().print(table)
    for summary in summaries:
        _say_orientations(summary)
        for bad in summary.bad:
            line = f"[yellow]{escape(summary.card.site)}[/]: {escape(bad.name)}: {escape(bad.reason)}"
            output().print(line, soft_wrap=True)  # programs read it line by line


def _say_orientations(summary: "SiteSummary") -> None:
    if not summary.orientations:
        return
    found = ", ".join(f"{axes} {count}" for axes, count in sorted(summary.orientations.items()))
    output().print(
        f"{escape(summary.card.site)}: axes of volumes in their files: {found}. All are turned: slices go from feet to "
        "head, rows from front to back, columns from the patient's right to the left.",
        soft_wrap=True,
    )


def show_differences(found: "Heterogeneity") -> None:
    """Counts, distances between sites, and what follows."""
    output().print("[italic]Training images, in all to the nearest ten[/]")
    table = folding("site", "in all", *map(escape, found.classes))
    for index, site in enumerate(found.sites):
        counts = found.class_counts[index] if found.classes else ()
        table.add_row(escape(site), *map(_count, (found.num_images[index], *counts)))
    output().print(table)
    if found.classes:
        _show_distances("Distance of classes (total variation, 0 to 1)", found.sites, found.class_distances)
    _show_distances("Distance of intensities (part of the range)", found.sites, found.intensity_distances)
    for advice in found.advice:
        output().print(f"[bold]{escape(advice.advice)}[/], because {escape(advice.reason)}.")


def as_json_of(found: "Heterogeneity") -> dict[str, Any]:
    """The same for programs; a hidden count is null."""
    return {
        "sites": found.sites,
        "classes": found.classes,
        "num_images": found.num_images,
        "class_counts": found.class_counts,
        "class_distances": _plain(found.class_distances),
        "intensity_distances": _plain(found.intensity_distances),
        "advice": [{"advice": advice.advice, "reason": advice.reason} for advice in found.advice],
    }


def _show_distances(title: str, sites: tuple[str, ...], distances: "Array") -> None:
    output().print(f"[italic]{title}[/]")  # above a narrow table rich would fold its title
    table = folding("", *map(escape, sites))
    for site, row in zip(sites, distances, strict=True):
        table.add_row(escape(site), *(f"{distance:.2f}" if not isnan(distance) else HIDDEN for distance in row))
    output().print(table)


def _plain(distances: "Array") -> list[list[float | None]]:
    return [[None if isnan(distance) else round(distance, 3) for distance in row] for row in distances.tolist()]


def _count(count: int | None) -> str:
    return HIDDEN if count is None else str(count)


def _classes(card: DatasetCard, part: Split) -> str:
    counts = card.class_counts.get(part, ())
    return ", ".join(f"{name} {count}" for name, count in zip(card.contract.classes, counts, strict=False))


def _sizes(summary: "SiteSummary") -> str:
    smallest, largest = ("x".join(map(str, size)) for size in (summary.smallest, summary.largest))
    return smallest if smallest == largest else f"{smallest} to {largest}"
