"""How long do three rounds take from a cold start, as a whole process, beside importing the libraries alone?"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.processes import FEDWARD, PYTHON, seconds_of_process
from benchmarks.report import Spread, print_table

REPEATS = 3
SITES, IMAGES, IMAGE_PX = 2, 24, 32
REHEARSAL = {"name": "run", "method": "rehearsal", "rounds": 3}
VIT = {
    "name": "run",
    "method": "supervised",
    "backbone": {"name": "vit", "width": 96, "depth": 4, "heads": 4, "patch_px": 8},
    "rounds": 3,
}
FLOWER = "numpy, pydantic, safetensors.numpy, yaml, typer, rich.table, flwr.app, flwr.serverapp, flwr.clientapp"
# What is run, on which engine, and the libraries that it cannot do without.
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "rehearsal, `inline`": (REHEARSAL, "inline", FLOWER),
    "small ViT, `inline`": (VIT, "inline", f"{FLOWER}, torch, timm.layers"),
    "rehearsal, `ray`": (REHEARSAL, "ray", f"{FLOWER}, ray"),
}


def main() -> None:
    """Measure every case in turns and print the table."""
    ours: dict[str, list[float]] = {case: [] for case in CASES}
    theirs: dict[str, list[float]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        data = write_sites(Path(folder) / "data")
        for repeat in range(REPEATS):
            for index, (case, (stage, engine, libraries)) in enumerate(CASES.items()):
                spec = write_spec(Path(folder) / f"{index}.yaml", stage)
                out = Path(folder) / f"out-{index}-{repeat}"
                ours[case].append(simulate(spec, data, out, engine))
                theirs[case].append(seconds_of_process(PYTHON, "-c", f"import {libraries}"))
    rows = []
    for case in CASES:
        whole, bare = Spread(tuple(ours[case])), Spread(tuple(theirs[case]))
        rows.append((case, whole, bare, whole.over(bare)))
    note = (
        f"`fedward simulate`, {SITES} sites with {IMAGES} images each, seed 0, {REPEATS} repeats in turns. "
        "The bare limit is a process that imports the libraries and ends."
    )
    print_table("Three rounds from a cold start", ("run", "s", "imports alone, s", "ratio"), rows, note)


def simulate(spec: Path, data: Path, out: Path, engine: str) -> float:
    """One run of the command, from its start to its end."""
    files = ("--data", str(data), "--out", str(out))
    return seconds_of_process(FEDWARD, "simulate", str(spec), *files, "--engine", engine)


def write_spec(path: Path, stage: dict[str, Any]) -> Path:
    """A spec with one stage."""
    values = {
        "name": "cold",
        "dataset": {"name": "noise", "image_px": IMAGE_PX},
        "cohort": {"min_sites": SITES},
        "stages": [stage],
        "evaluate": {"every": 1000, "bootstrap": 0},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def write_sites(folder: Path) -> Path:
    """Sites with images of noise, a third of them for testing."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for site in range(SITES):
        images = rng.integers(0, 256, (IMAGES, IMAGE_PX, IMAGE_PX), np.uint8)
        split = np.array(["train", "train", "test"] * (IMAGES // 3))
        labels = np.arange(IMAGES) % 4 // 2
        np.savez(
            folder / f"site-{site}.npz", images=images, labels=labels, split=split, classes=np.array(["no", "yes"])
        )
    return folder


if __name__ == "__main__":
    main()
