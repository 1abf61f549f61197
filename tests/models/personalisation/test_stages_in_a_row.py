"""A stage that follows a personalised one takes over the model, and nothing that was kept beside it."""

from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.cards import Contract
from fedward_core.spec import Spec
from fedward_models.programs.torch_program import TorchProgram

CONTRACT = Contract(classes=("a", "b"))
SGD: dict[str, Any] = {"optimizer": {"name": "sgd", "momentum": 0.0}}
STAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "channel decoupling": {"personalise": "channel_decoupling"},
    "ditto": {"personalise": "ditto"},
    "scaffold": {"personalise": "scaffold", "aggregate": "scaffold_mean", "local": SGD},
    "logit bias": {"personalise": "logit_bias"},
}


def plans(first: str, second: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """The weights of the first stage, moved as if they were trained, and those that the second starts from."""
    common = {"method": "supervised", "rounds": 2}
    network = {"name": "small_cnn", "widths": [2], "hidden": [3]}
    stages = [
        {**common, "name": "first", "backbone": network, **STAGES[first]},
        {**common, "name": "second", "start_from": "previous", **STAGES[second]},
    ]
    spec = Spec.parse({"name": "row", "dataset": {"name": "toy", "image_px": 8}, "stages": stages})
    weights = TorchProgram(spec, 0).plan(CONTRACT, None)[1]
    trained = {n: a + np.float32(1) if a.dtype.kind == "f" else a for n, a in weights.items()}
    return trained, TorchProgram(spec, 1).plan(CONTRACT, trained)[1]


@pytest.mark.parametrize("first", [name for name in STAGES if name != "logit bias"])
@pytest.mark.parametrize("second", STAGES)
def test_the_model_is_taken_over_and_what_is_kept_beside_it_begins_anew(first: str, second: str) -> None:
    trained, start = plans(first, second)
    for name in trained:
        if name.startswith(("backbone.", "head.")):
            assert np.array_equal(start[name], trained[name])
    beside = {name for name in start if not name.startswith(("backbone.", "head."))}
    assert {name.split(".")[0] for name in beside} == BESIDE.get(second, set())
    for name in beside:
        expected = start[name.removeprefix("personal.")] if name.startswith("personal.") else 0
        assert np.array_equal(start[name], np.broadcast_to(expected, start[name].shape))


BESIDE = {"channel decoupling": {"local_epochs"}, "ditto": {"personal"}, "scaffold": {"variate"}}
