"""A client app imports the bundle that was approved, and from its own folder."""

import hashlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flwr.supernode.runtime import run_clientapp

from fedward_client.agent.errors import AgentError
from fedward_client.flower.approved_app import admit_only

CONTENT = b"a bundle"
APP = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def flower() -> ModuleType:
    """Flower's module with functions that tell what they were given."""
    module = ModuleType("flower")
    vars(module).update(
        install_from_fab=lambda content, **rest: ("installed", content, rest),
        get_project_dir=lambda *words: Path("apps", ".".join(words)),
    )
    admit_only(module, APP)
    return module


def test_the_bundle_that_was_approved_is_laid_out_and_found(flower: Any) -> None:
    assert flower.install_from_fab(CONTENT, skip_prompt=True) == ("installed", CONTENT, {"skip_prompt": True})
    assert flower.get_project_dir("fedward/fedward", "0.1.0", APP).parts[0] == "apps"


def test_another_bundle_that_comes_in_its_place_is_not_unpacked(flower: Any) -> None:
    with pytest.raises(AgentError, match="not the one that was approved"):
        flower.install_from_fab(b"another bundle", skip_prompt=True)


@pytest.mark.parametrize(
    "words",
    [
        ("fedward/fedward", "1/../../../../tmp/evil", APP),
        ("..//tmp", "1", APP),
        ("fedward/fedward", "", APP),
        ("fedward/fedward", "0.1.0", "b" * 64),
    ],
)
def test_names_that_lead_elsewhere_find_no_folder(flower: Any, words: tuple[str, str, str]) -> None:
    with pytest.raises(AgentError, match="nothing was imported"):
        flower.get_project_dir(*words)


def test_flower_calls_what_is_guarded_before_it_imports_anything() -> None:
    text = inspect.getsource(run_clientapp)
    calls = ["install_from_fab(fab.content, ", "= get_project_dir(run.fab_id, run.fab_version, fab.hash_str)"]
    places = [text.index(call) for call in (*calls, "client_app: ClientApp = load_client_app_fn(")]
    assert places == sorted(places)
    assert {"install_from_fab", "get_project_dir"} <= vars(run_clientapp).keys()
