"""How a benchmark reports: figures with their spread, one table in Markdown, and what they were measured on."""

import os
import platform
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TypeVar

PACKAGES = ("fedward", "numpy", "torch", "flwr", "ray")
Case = TypeVar("Case", bound=Hashable)


@dataclass(frozen=True)
class Spread:
    """A figure that was measured several times; it prints as its median, least and greatest value."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({min(self.values):.3g} to {max(self.values):.3g})"

    def over(self, other: "Spread") -> "Spread":
        """The ratio of each value to the one that was measured beside it."""
        return Spread(tuple(ours / theirs for ours, theirs in zip(self.values, other.values, strict=True)))

    def beside(self, bare: "Spread") -> tuple["Spread", "Spread", "Spread"]:
        """Three cells of a row: the figure, its bare limit and their ratio."""
        return self, bare, self.over(bare)


def in_turns(cases: Mapping[Case, Callable[[], float]], repeats: int) -> dict[Case, Spread]:
    """Measure every case once, then every case again, so that what else the machine does weighs on all of them."""
    seen: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(repeats):
        for case, measure in cases.items():
            seen[case].append(measure())
    return {case: Spread(tuple(values)) for case, values in seen.items()}


def print_table(question: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str) -> None:
    """Print one table.

    Args:
        question: What the table answers.
        columns: Names, with units.
        rows: One cell for each column.
        note: Seeds, repeats, and what the bare limit does.
    """
    table = [columns, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"### {question}\n", *lines, f"\n{note} Cells are the median, with least and greatest.", sep="\n", flush=True)


def machine() -> str:
    """The machine, how busy it is, and the versions, in three lines of Markdown."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(_versions())
    return (
        f"- {_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}\n"
        f"- load before the start: {os.getloadavg()[0]:.2f}\n"
        f"- Python {platform.python_version()}, {versions}"
    )


def _versions() -> Iterator[str]:
    """Of the packages that are installed; not every benchmark needs all."""
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            yield f"{package} {version(package)}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
