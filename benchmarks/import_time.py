"""How long does importing a part take, beside importing its libraries alone?"""

from functools import partial

from benchmarks.processes import PYTHON, figure_of_process
from benchmarks.report import in_turns, print_table

REPEATS = 5
CORE = "numpy, pydantic, safetensors.numpy, yaml"
FLOWER = f"{CORE}, flwr.app, flwr.serverapp, flwr.clientapp"
# What is imported, and the libraries that it cannot do without.
PARTS = {
    "fedward_core.spec": CORE,
    "fedward_cli.main": f"{CORE}, typer, rich.console, rich.table",
    "fedward_server.engines.inline": FLOWER,
    "fedward_models.programs.torch_program": f"{CORE}, torch",
}


def main() -> None:
    """Measure every part and print the table."""
    cases = {(part, names): partial(import_seconds, names) for part, own in PARTS.items() for names in (part, own)}
    seen = in_turns(cases, REPEATS)
    rows = [(f"`{part}`", *seen[part, part].beside(seen[part, own])) for part, own in PARTS.items()]
    note = f"{REPEATS} repeats, each in a fresh process, in turns."
    print_table("Import time", ("part", "s", "its libraries alone, s", "ratio"), rows, note)


def import_seconds(names: str) -> float:
    """Import modules in a fresh process."""
    code = f"import time; start = time.perf_counter(); import {names}; print(time.perf_counter() - start)"
    return figure_of_process(PYTHON, "-c", code)


if __name__ == "__main__":
    main()
