"""``fedward zoo``: complete, documented, and quick because nothing is imported."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

from fedward_cli import docstrings
from fedward_cli.exhibits import KINDS, exhibits
from fedward_core import registry


def test_the_list_shows_every_registered_name(bench: Any) -> None:
    result = bench.call("zoo", "list")
    assert result.exit_code == 0, result.output
    for kind in KINDS.values():
        for name in registry.names(kind):
            assert name in result.stdout


def test_a_list_of_one_kind_has_no_column_that_says_nothing(bench: Any) -> None:
    shown = bench.call("zoo", "list", "--kind", "backbone").stdout
    heads = [head.strip() for head in shown.splitlines()[2].strip("┃").split("┃")]
    assert heads == ["name", "what it is", "paper"]
    assert "``" not in shown


def test_every_kind_of_the_registry_is_listed() -> None:
    groups = {group for group in entry_points().groups if group.startswith("fedward.")}
    assert groups == {f"fedward.{kind}" for kind in KINDS.values()}


def test_the_list_as_json_parses_and_can_be_of_one_kind(bench: Any) -> None:
    found = json.loads(bench.call("zoo", "list", "--kind", "method", "--json").stdout)
    assert [entry["name"] for entry in found] == list(registry.names("methods"))


def test_a_folder_that_is_no_runs_is_named_wherever_the_command_is_called(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "mine").mkdir()
    monkeypatch.chdir(bench.folder / "mine")
    result = bench.call("zoo", "export", ".", "--format", "onnx")
    assert result.exit_code == 1
    assert "'mine' holds no spec" in result.stderr


def test_an_unknown_kind_is_answered_with_the_nearest(bench: Any) -> None:
    result = bench.call("zoo", "list", "--kind", "methodd")
    assert result.exit_code == 1
    assert "Did you mean 'method'?" in result.stderr


def test_show_tells_settings_defaults_and_the_paper(bench: Any) -> None:
    result = bench.call("zoo", "show", "channel_decoupling")
    for expected in ("Paper:", "CD2-pFed", "distillation", "0.5", "The weight of the cyclic distillation"):
        assert expected in result.stdout


def test_show_as_json_parses(bench: Any) -> None:
    (entry,) = json.loads(bench.call("zoo", "show", "mae", "--json").stdout)
    assert {setting["key"] for setting in entry["settings"]} >= {"mask_ratio", "decoder_width"}


def test_an_unknown_name_is_answered_with_the_nearest(bench: Any) -> None:
    result = bench.call("zoo", "show", "maee")
    assert result.exit_code == 1
    assert "Did you mean 'mae'?" in result.stderr


@pytest.mark.parametrize("exhibit", exhibits(), ids=lambda exhibit: exhibit.name)
def test_every_entry_says_what_it_is_and_what_each_setting_means(exhibit: Any) -> None:
    assert exhibit.summary
    for setting in exhibit.settings:
        assert setting.meaning, f"{exhibit.name}.{setting.key} has no line under Attributes"


def test_neither_help_nor_the_zoo_imports_torch_or_flower() -> None:
    script = (
        "import sys\n"
        "from fedward_cli.main import app\n"
        "app(['zoo', 'list', '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'timm', 'flwr', 'ray', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_paper_is_its_paragraph_up_to_where_it_appeared() -> None:
    text = 'A thing.\n\nPaper: A. Author, "Title", CVPR 2022,\narXiv:2204.03880. No code is published in 2023.'
    assert docstrings.paper(text) == 'A. Author, "Title", CVPR 2022, arXiv:2204.03880'


def test_without_a_paragraph_the_paper_is_what_the_first_one_cites() -> None:
    text = "A thing (He et al., CVPR 2022), as used (by some) later (Yan et al., IEEE TMI 2023, eq. 2).\n\nIn 1999."
    assert docstrings.paper(text) == "He et al., CVPR 2022; Yan et al., IEEE TMI 2023"
    assert docstrings.summary(text) == "A thing, as used (by some) later."
    assert docstrings.paper("No paper: a fire drill of 1666.") == ""


def test_attributes_are_read_over_all_bases() -> None:
    class First:
        """One.

        Attributes:
            a: The a.
        """

    class Second(First):
        """Two.

        Attributes:
            b: The b, which takes
                two lines.

        Example:
            c: Not an attribute.
        """

    assert docstrings.attributes(Second) == {"a": "The a.", "b": "The b, which takes two lines."}
