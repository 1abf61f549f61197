"""How long do three rounds take from a cold start, as a whole process, beside importing the libraries alone?"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.noise import write_noise
from benchmarks.processes import FEDWARD, PYTHON, seconds_of_process
from benchmarks.report import in_turns, print_table

REPEATS = 3
SITES, IMAGES, TEST, IMAGE_PX = 2, 24, 8, 32
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_noise(folder / "data", sites=SITES, images=(IMAGES - TEST, TEST), shape=(IMAGE_PX, IMAGE_PX))
        cases = {}
        for index, (case, (stage, engine, libraries)) in enumerate(CASES.items()):
            spec = write_spec(folder / f"{index}.yaml", stage)
            cases[case, "run"] = partial(simulate, spec, folder / "data", engine)
            cases[case, "imports"] = partial(seconds_of_process, PYTHON, "-c", f"import {libraries}")
        seen = in_turns(cases, REPEATS)
    rows = [(case, *seen[case, "run"].beside(seen[case, "imports"])) for case in CASES]
    note = (
        f"`fedward simulate`, {SITES} sites with {IMAGES} images each, seed 0, {REPEATS} repeats in turns. "
        "The bare limit is a process that imports the libraries and ends."
    )
    print_table("Three rounds from a cold start", ("run", "s", "imports alone, s", "ratio"), rows, note)


def simulate(spec: Path, data: Path, engine: str) -> float:
    """One run of the command, from its start to its end."""
    with tempfile.TemporaryDirectory() as out:
        files = ("--data", str(data), "--out", f"{out}/run")
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


if __name__ == "__main__":
    main()
