"""Breaks one line after another, and asks whether the tests notice: ``make mutants``.

Each mutant of ``mutants.toml`` is made in a copy of its package, which hides the installed one from the tests that are
named beside it; the working tree is only read. A mutant that survives shows a test that is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PASSED, FAILED = 0, 1  # pytest's own exit codes; any other says that the tests did not run


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One way to break one line; the fields are explained in ``mutants.toml``."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def package(self) -> Path:
        """The folder of the package, from the root: ``core/fedward_core``."""
        return Path(*Path(self.file).parts[:2])

    @property
    def is_found(self) -> bool:
        """Whether the old text stands in the file exactly once."""
        path = ROOT / self.file
        return path.exists() and path.read_text(encoding="utf-8").count(self.old) == 1

    def break_copy(self, folder: Path) -> None:
        """Copy the package into a folder, with the line broken.

        Compiled files come along, for speed: a file that is written anew does not fit its own any more.
        """
        shutil.copytree(ROOT / self.package, folder / self.package.name)
        broken = folder / Path(self.file).relative_to(self.package.parent)
        broken.write_text(broken.read_text(encoding="utf-8").replace(self.old, self.new), encoding="utf-8")


def main() -> None:
    """Print which test caught which mutant.

    Raises:
        SystemExit: With 1 if a mutant survived, or if one could not be tried.
    """
    content = tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))
    mutants = [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in content["mutant"]]
    _refuse_lost(mutants)
    _refuse_failing(mutants)
    sys.exit(not _print_catches(mutants))


def _refuse_lost(mutants: list[Mutant]) -> None:
    lost = [f"{mutant.file}: {mutant.old}" for mutant in mutants if not mutant.is_found]
    if lost:
        sys.exit("\n".join(["expected once, but not found so; write these mutants anew:", *lost]))


def _refuse_failing(mutants: list[Mutant]) -> None:
    """A test that fails without any mutant would seem to catch all of them."""
    result = _run_tests({test for mutant in mutants for test in mutant.tests}, packages=ROOT)
    if result.returncode != PASSED:
        sys.exit(f"the tests must pass before a line is broken:\n{result.stdout}{result.stderr}")


def _print_catches(mutants: list[Mutant]) -> bool:
    """One line for each mutant; whether all were caught."""
    console, width = Console(), max(len(mutant.name) for mutant in mutants)
    console.print(f"{'mutant':{width}}  caught by", soft_wrap=True)
    caught = True
    for mutant in track(mutants, "Breaking lines", console=console, transient=True):
        test = _caught_by(mutant)
        console.print(f"{mutant.name:{width}}  {test or 'SURVIVED'}", soft_wrap=True, highlight=False)
        caught &= test is not None
    return caught


def _caught_by(mutant: Mutant) -> str | None:
    """The first test that failed, or None."""
    with tempfile.TemporaryDirectory(prefix="fedward-mutant-") as folder:
        mutant.break_copy(Path(folder))
        result = _run_tests(mutant.tests, packages=Path(folder))
    if result.returncode == PASSED:
        return None
    failed = re.search(r"^FAILED \S*::(\w+)", result.stdout, re.MULTILINE)
    if result.returncode != FAILED or failed is None:
        sys.exit(f"no test failed by itself where {mutant.name}:\n{result.stdout}{result.stderr}")
    return failed[1]


def _run_tests(tests: Iterable[str], *, packages: Path) -> subprocess.CompletedProcess[str]:
    """Run tests until the first fails; packages in the folder come before those that are installed."""
    options = ("--exitfirst", "--quiet", "--tb=short", "-rf", "-p", "no:cacheprovider")
    # As a machine runs them: the same examples every time, and none that a mutant failed on is remembered.
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(packages)}
    command = [sys.executable, "-m", "pytest", *options, *sorted(tests)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main()
