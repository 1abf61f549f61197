"""What is written for people agrees with what the program does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from fedward_cli import docstrings
from fedward_cli.commands.demo import ARMS, demo_arms
from fedward_cli.exhibits import KINDS
from fedward_cli.main import app
from fedward_core import registry
from fedward_core.config import Config
from fedward_core.spec import Cohort, Dataset, Evaluate, Local, Schedule, Spec, Stage

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
SPECS_PAGE = (ROOT / "docs" / "specs.md").read_text(encoding="utf-8")
SETTINGS_PAGES = [ROOT / "docs" / "specs.md", *sorted((ROOT / "docs" / "zoo").glob("*.md"))]
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": Spec,
    "cohort": Cohort,
    "dataset": Dataset,
    "stages": Stage,
    "stages.local": Local,
    "stages.local.schedule": Schedule,
    "evaluate": Evaluate,
}
KINDS_OF_CHOICES = [kind for kind in KINDS.values() if kind != "engines"]
CHOICES = {name: registry.resolve(kind, name) for kind in KINDS_OF_CHOICES for name in registry.names(kind)}


def section(title: str) -> str:
    """The text below a heading, up to the next."""
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", SPECS_PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/specs.md has no section '{title}'"
    return found[1]


def commands(command: Any, path: tuple[str, ...] = ("fedward",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_spec_that_says_what_it_shows_and_how_to_run_it(path: Path) -> None:
    assert Spec.read(path).name == path.stem
    head = path.read_text(encoding="utf-8").split("name:")[0]
    assert head.startswith("# ")
    assert re.search(rf"^#   fedward \w+ .*{path.stem}", head, re.MULTILINE)


def test_the_arms_of_the_demo_are_valid_and_share_their_beginning() -> None:
    arms = {arm.name: arm for arm in demo_arms()}
    assert tuple(arms) == ARMS
    assert arms["ssl_fl"].stages == arms["ssl_fl_cd2"].stages[:2]
    assert len({arm.dataset for arm in arms.values()}) == 1


def test_the_arms_on_chest_xrays_share_their_beginning_and_their_data() -> None:
    arms = {path.stem: Spec.read(path) for path in EXAMPLES if path.parent.name == "cxr"}
    assert arms["ssl_fl"].stages == arms["ssl_fl_cd2"].stages[:2]
    assert len({(arm.dataset, arm.cohort) for arm in arms.values()}) == 1


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_of_the_spec_stands_in_the_reference_with_its_default(title: str) -> None:
    check_table(section(title), SECTIONS[title])


@pytest.mark.parametrize("name", CHOICES)
def test_every_registered_name_stands_in_the_reference_with_its_settings(name: str) -> None:
    check_table(section(name), CHOICES[name])


@pytest.mark.parametrize("model", [*SECTIONS.values(), *CHOICES.values()], ids=lambda model: model.__name__)
def test_settings_speak_of_null_as_yaml_writes_it(model: type[BaseModel]) -> None:
    meanings = docstrings.attributes(model)
    assert not [
        key for key in model.model_fields if re.search(r"\b(None|Null) (for|to|where)\b", meanings.get(key, ""))
    ]


@pytest.mark.parametrize("page", SETTINGS_PAGES, ids=lambda page: page.stem)
def test_tables_of_settings_speak_of_null_as_yaml_writes_it(page: Path) -> None:
    rows = re.findall(r"^\| `.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert not [row for row in rows if re.search(r"\b(None|Null) (for|to|where)\b|^\| `[\w.]+` \| none \|", row)]


def test_every_engine_stands_in_the_reference() -> None:
    for name in registry.names("engines"):
        assert f"| `{name}` |" in section("Engines")


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_and_option_has_help_and_stands_in_its_page(path: tuple[str, ...], command: Any) -> None:
    assert command.help
    usage = re.search(rf"^{' '.join(path)}\b(.*?)(?=^fedward|^```)", CLI_PAGE, re.MULTILINE | re.DOTALL)
    assert usage, f"docs/cli.md does not show '{' '.join(path)}'"
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"
            assert parameter.opts[0] in usage[1]


@pytest.mark.parametrize("command", [("simulat",), ("run", "wacth")])
def test_a_slip_in_a_command_is_answered_with_the_nearest_once(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.output.count("Did you mean") == 1


def check_table(text: str, model: type[BaseModel]) -> None:
    """Each key with its default, but for nested tables and for the name that the heading gives."""
    for key, field in model.model_fields.items():
        if key == "name" and issubclass(model, Config):
            continue
        row = re.search(rf"^\| `{key}` \| (.*?) \| \S.*\|$", text, re.MULTILINE)
        assert row, f"no row for '{key}'"
        default = field.get_default(call_default_factory=True)
        if not isinstance(default, BaseModel) or isinstance(default, Config):
            assert row[1] == written(default)


def written(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, Config):
        return f"`{default.name}`"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"
