"""Pages that list names hold exactly those of the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedward_cli.comparison.arm_runs import MetricName
from fedward_core.cards import Contract, Task
from fedward_core.events import EventKind
from fedward_core.metric import CUT_REPORTS, WITHOUT_PROMPT
from fedward_core.robustness import AUTO_ATTACK_ACCURACY, FGSM_ACCURACY, PGD_ACCURACY, SQUARE_ACCURACY
from fedward_core.spec import Dataset
from fedward_models.data.site_data import read_site
from fedward_models.inference.predicting import ERROR
from fedward_models.training.figures import figures_of
from fedward_server.runs.states import RUN_MOVED, SITE_ANSWERED, SITE_LEFT_OUT

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
METHODS = [ast.parse(path.read_text()) for path in sorted((ROOT / "models/fedward_models/methods").rglob("*.py"))]
UNDER_ATTACK = {FGSM_ACCURACY, PGD_ACCURACY, SQUARE_ACCURACY, AUTO_ATTACK_ACCURACY}
REHEARSED = "mean_weight"


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("Events of a run", {str(kind) for kind in EventKind}),
        ("Events of the coordinator", {RUN_MOVED, SITE_ANSWERED, SITE_LEFT_OUT}),
    ],
)
def test_the_page_of_events_lists_every_kind(title: str, kinds: set[str]) -> None:
    assert listed("events.md", title) == kinds


def test_the_page_of_figures_lists_every_evaluated_figure() -> None:
    known = {*of_all_tasks(), *UNDER_ATTACK, *measured_by_methods(), WITHOUT_PROMPT, ERROR, REHEARSED}
    assert listed("figures.md", "Evaluated figures") == known


def test_figures_of_training_on_their_page_stand_in_the_methods() -> None:
    texts = {node.value for tree in METHODS for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert listed("figures.md", "Figures of training") - UNDER_ATTACK - texts == {"loss", CUT_REPORTS}


def test_the_page_of_figures_says_what_arms_are_compared_by() -> None:
    (row,) = re.findall(r"^\| \[`fedward compare --metric`\].*?\| (.*?) \|", page("figures.md"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == {str(metric) for metric in MetricName}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def listed(name: str, title: str) -> set[str]:
    """The names in the first cells of a section's tables."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found, f"docs/{name} has no section '{title}'"
    rows = re.findall(r"^\| (`.*?) \|", found[1], re.MULTILINE)
    return {each for row in rows for each in re.findall(r"`([^`]+)`", row)}


def of_all_tasks() -> set[str]:
    """What is evaluated of classes, of several labels and of masks, with one name for every class."""
    rows = {
        Task.CLASSIFICATION: {"probabilities": np.tile([0.9, 0.1], (40, 1)), "labels": np.arange(40) > 38},
        Task.MULTI_LABEL: {"probabilities": np.full((40, 2), 0.5), "labels": np.ones((40, 2))},
        Task.SEGMENTATION: {"dice": np.ones((40, 2))},
    }
    names = set[str]()
    for task, noted in rows.items():
        figures = figures_of(
            {"loss": np.zeros(40), **noted}, Contract(classes=("CLASS", "CLASS"), channels=1, task=task)
        )
        names |= figures.keys()
    return names


def measured_by_methods() -> set[str]:
    """The keys of what methods measure of each image beside their predictions."""
    return {
        key.value
        for tree in METHODS
        for function in functions(tree)
        if function.name == "measures"
        for node in ast.walk(function)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_the_page_of_public_data_makes_a_site_of_films_and_a_table(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page("public_data.md"), re.DOTALL)
    (tmp_path / "table.csv").write_text("file,label,split,patient\na.png,pneumonia,train,p1\nb.png,normal,test,p2\n")
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((30, 40), 128, dtype=np.uint8)).save(tmp_path / name)
    written: dict[str, Any] = {}
    exec(code, written)
    written["write_site"](tmp_path / "table.csv", tmp_path / "north.npz", side_px=32)
    found = read_site(tmp_path, "north", Dataset(name="films", image_px=32))
    assert found.images.shape[0] == 2
    assert np.asarray(found.labels).tolist() == [1, 0]


@pytest.mark.parametrize("folder", [DOCS, DOCS / "zoo"], ids=lambda folder: folder.name)
def test_the_index_of_a_folder_links_every_page(folder: Path) -> None:
    index = folder / "README.md"
    links = re.findall(r"\]\(([^)#]+)", index.read_text(encoding="utf-8"))
    linked = {(folder / link).resolve() for link in links}
    assert not {path for path in folder.glob("*.md") if path != index} - linked
