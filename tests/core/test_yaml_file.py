"""YAML that people write: what they wrote twice, or wrongly, is told."""

from pathlib import Path

import pytest

from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_core.yaml_file import read_yaml


def written(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("labels: false\nlabels: true\n", 2),
        ("a:\n  b: 1\n  'b': 2\n", 3),
        ("- {x: 1, y: 2, x: 3}\n", 1),
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}\n", 2),
    ],
)
def test_a_key_that_stands_twice_in_a_table_is_told_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf'twice: keep one of the two\n  in "file\.yaml", line {line}'):
        read_yaml(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", None),
        ("a: {x: 1}\nb: {x: 2}\n", {"a": {"x": 1}, "b": {"x": 2}}),
        ("1: a\n'1': b\n", {1: "a", "1": "b"}),
        ("a: &a {x: 1}\nb: {<<: *a, x: 2}\n", {"a": {"x": 1}, "b": {"x": 2}}),
    ],
)
def test_keys_of_different_tables_and_those_that_replace_an_inherited_one_are_different(
    text: str, values: object, tmp_path: Path
) -> None:
    assert read_yaml(written(tmp_path, text)) == values


@pytest.mark.parametrize("text", ["a: [", "day: 2020-13-45", "[" * 5000, "? [a, b]\n: 1\n"])
def test_whatever_is_wrong_is_one_kind_of_error_that_names_no_folder(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any text will do but one with a folder
        read_yaml(written(tmp_path, text))
    assert str(tmp_path) not in str(caught.value)


def test_a_spec_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    text = "name: trial\ndataset: {name: any}\nstages: [{name: a, method: rehearsal, rounds: 80, rounds: 8}]\n"
    with pytest.raises(SpecError, match=r"cannot read the spec 'file\.yaml'.*(?s:.)*key 'rounds' stands there twice"):
        Spec.read(written(tmp_path, text))
