"""The page about parts of one's own: its examples are found by their names, and train together as they stand there."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fedward_cli.main import app
from fedward_core import registry
from fedward_models.data import generate

PAGE = (Path(__file__).parents[2] / "docs" / "own_parts.md").read_text(encoding="utf-8")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's modules with their metadata, in a folder that Python looks in."""
    for name, code in re.findall(r"```python\n# (own_parts/\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    info = tmp_path / "own_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(entry_points()))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    yield tmp_path
    registry._entries.cache_clear()


def test_the_parts_of_the_page_train_together(installed: Path) -> None:
    spec = installed / "own-parts.yaml"
    spec.write_text(block("yaml"))
    assert set(yaml.safe_load(block("yaml"))) == {"name", "dataset", "stages"}
    generate(installed / "data", sites=3, images_per_site=40, image_px=16, seed=0)
    command = ["simulate", str(spec), "--data", str(installed / "data"), "--out", str(installed / "run")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "mean of sites" in result.stdout


def entry_points() -> Iterator[str]:
    for group, entries in tomllib.loads(block("toml"))["project"]["entry-points"].items():
        yield f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)
