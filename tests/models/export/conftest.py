"""A finished model without a run: small, and as it was built."""

from collections.abc import Callable

import pytest

from fedward_core.cards import Contract, Task
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_models.building import build_method, manifest_of
from fedward_models.inference.finished_model import FinishedModel


@pytest.fixture(scope="session")
def built() -> Callable[..., FinishedModel]:
    """Builds one for a task."""

    def build(task: Task = Task.CLASSIFICATION) -> FinishedModel:
        backbone = {"name": "small_cnn", "widths": [4], "hidden": []}
        stage = {"name": "only", "method": "supervised", "backbone": backbone, "rounds": 1}
        dataset = {
            "name": "films",
            "image_px": 16,
            "task": task,
            "standardisation": {"mean": 0.5, "std": 0.25},
        }
        spec = Spec.parse({"name": "study", "dataset": dataset, "stages": [stage]})
        contract = Contract(classes=("a", "b"), task=task)
        method = build_method(spec, 0, contract).eval()
        plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=contract)
        return FinishedModel(spec=spec, index=0, plan=plan, method=method)

    return build
