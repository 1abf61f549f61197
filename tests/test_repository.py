"""Rules about the repository as a whole: what is registered, shown, documented and imported."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fedward_core import registry
from fedward_core.spec import Spec

ROOT = Path(__file__).parent.parent
REGISTERED = sorted(entry for entry in distribution("fedward").entry_points if entry.group.startswith("fedward."))
MANUALS = ("benchmarks", "docs", "examples")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in MANUALS for page in (ROOT / folder).rglob("*.md"))])
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "manager"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        importlib.import_module(found.name)
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def test_every_example_is_a_valid_spec() -> None:
    examples = sorted((ROOT / "examples").glob("*.yaml"))
    assert examples, "expected examples/*.yaml"
    for example in examples:
        Spec.read(example)


@pytest.mark.parametrize("entry", REGISTERED, ids=lambda entry: f"{entry.group}:{entry.name}")
def test_every_registered_name_loads(entry: EntryPoint) -> None:
    chosen = entry.load()
    if entry.group == "fedward.engines":
        assert callable(chosen().run)
    else:
        assert chosen.model_fields["name"].default == entry.name
        assert callable(registry.load(chosen.implementation))


def test_the_first_page_lists_every_registered_name() -> None:
    page = (ROOT / "README.md").read_text()
    assert not [entry.name for entry in REGISTERED if f"`{entry.name}`" not in page]


@pytest.mark.parametrize("name", ["fedward_core", "fedward_server", "fedward_cli.main"])
def test_torch_is_not_imported_where_nothing_trains(name: str) -> None:
    assert "torch" not in imported_with(name)


@pytest.mark.parametrize("name", ["fedward_core", "fedward_cli.main"])
def test_flower_and_ray_are_not_imported_where_nobody_asked_for_them(name: str) -> None:
    assert not {"flwr", "ray"} & imported_with(name)


def test_every_spec_can_be_checked_without_torch() -> None:
    modules = {entry.module for entry in REGISTERED if entry.group != "fedward.engines"}
    assert "torch" not in imported_with(*modules)


def test_imports_follow_the_house() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_no_module_has_a_vague_name() -> None:
    modules = [path for path in ROOT.glob("*/fedward_*/**/*.py") if path.stem in VAGUE or path.parent.name in VAGUE]
    assert not modules


def test_constraints_hold_a_fitting_version_of_every_dependency() -> None:
    versions = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in (project["dependencies"], *project["optional-dependencies"].values()):
        for requirement in map(Requirement, extra):
            assert versions[requirement.name.lower()] in requirement.specifier


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text())
    assert not [link for link, _ in links if not (page.parent / link).exists()]
    sections = [(page.parent / link if link else page, section) for link, section in links if section]
    assert not [section for target, section in sections if section not in sections_of(target)]


def sections_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def imported_with(*names: str) -> set[str]:
    """The top-level modules that a fresh process holds after importing these, and all modules within them."""
    command = [sys.executable, "-c", IMPORT_ALL, *sorted(names)]
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))
