"""A coordinator without torch carries out what needs none, and says at submission what it cannot."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_server.engines import installed
from fedward_server.engines.installed import check_installed


def spec_of(**stage: Any) -> Spec:
    stages = [{"name": "only", "rounds": 1, **stage}]
    return Spec.parse({"name": "toy", "dataset": {"name": "toy"}, "stages": stages})


TRAINING = spec_of(method="supervised", backbone={"name": "vit"})
REHEARSAL = spec_of(method="rehearsal")
Lacking = Callable[..., None]


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Lacking:
    """Pretend that packages are not installed."""

    def pretend(*packages: str) -> None:
        def find(name: str) -> ModuleSpec | None:
            return None if name in packages else importlib.util.find_spec(name)

        monkeypatch.setattr(installed, "find_spec", find)

    return pretend


@pytest.mark.parametrize("engine", ["inline", "ray", "deployment"])
def test_training_here_without_torch_is_refused_with_what_to_do(lacking: Lacking, engine: str) -> None:
    lacking("torch")
    with pytest.raises(SpecError, match=r"no torch: submit the run to a study with enrolled sites, or .* 'models'"):
        check_installed(engine, TRAINING)


def test_a_rehearsal_needs_no_torch(lacking: Lacking) -> None:
    lacking("torch", "ray")
    check_installed("inline", REHEARSAL)


def test_ray_is_asked_for_where_it_is_used(lacking: Lacking) -> None:
    lacking("ray")
    check_installed("inline", TRAINING)
    for engine in ("ray", "ray_train"):
        with pytest.raises(SpecError, match=r"no ray: .* 'simulation'"):
            check_installed(engine, REHEARSAL)


def test_ray_train_asks_for_packages_of_its_own(lacking: Lacking) -> None:
    lacking("pyarrow")
    check_installed("ray", TRAINING)
    with pytest.raises(SpecError, match=r"no pyarrow: .* 'distributed'"):
        check_installed("ray_train", TRAINING)


def test_nothing_is_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in {"torch", "ray"}]:
        monkeypatch.delitem(sys.modules, name)
    check_installed("ray", TRAINING)
    assert not {"torch", "ray"} & sys.modules.keys()
