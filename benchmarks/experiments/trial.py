"""How a trial is run: the words that every one reads, what is not finished, and what was recorded.

A trial is arms, each with several seeds. What an arm tells with a seed is a line of a file, found again by the arm, the
seed and the settings that all of them share.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from fedward_core.arrays import digest
from fedward_models.weights import arrays_of

Row = dict[str, Any]


def common_arguments(about: str | None, *, seeds: int, arms: Iterable[str] = ()) -> argparse.ArgumentParser:
    """A parser of the words that every trial reads.

    Args:
        about: The head of the file.
        seeds: How many seeds the published table has: 0, 1 and so on.
        arms: All of them, which is what is run by default; none for a trial that names its arms otherwise.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(seeds)))
    if names := list(arms):
        parser.add_argument("--arms", nargs="+", default=names, choices=names)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line; from here on torch has one thread, so that figures do not depend on the number of cores."""
    torch.set_num_threads(1)
    return parser.parse_args()


def carry_out(
    name: str, arguments: argparse.Namespace, run: Callable[[str, int], Row], *, same: Row | None = None
) -> list[Row]:
    """Run every arm that is not finished, and give the rows of all that are, those of earlier calls included.

    Args:
        name: Of the trial: rows are lines of <out>/<name>.jsonl.
        arguments: What :func:`common_arguments` reads.
        run: Gives the figures of an arm with a seed.
        same: The settings, which are the same for all arms; rows with others are left alone.
    """
    path, same = arguments.out / f"{name}.jsonl", same or {}
    for seed, arm in product(arguments.seeds, arguments.arms):
        finish(path, {"arm": arm, "seed": seed, **same}, partial(run, arm, seed))
    return records(path, same)


def finish(path: Path, key: Row, run: Callable[[], Row]) -> None:
    """Run what has no row yet; write the row, and show it."""
    if not records(path, key):
        row = key | run()
        append(path, row)
        print(json.dumps(row), flush=True)


def records(path: Path, part: Row | None = None) -> list[Row]:
    """The rows of a file, which need not exist, that hold all of a part."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if (part or {}).items() <= row.items()]


def append(path: Path, row: Row) -> None:
    """Write one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def tower_digest(network: torch.nn.Module) -> str:
    """The first digits of the digest of a network's weights."""
    return digest(arrays_of(network))[:16]
