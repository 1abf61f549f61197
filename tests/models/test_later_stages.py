"""A later stage that cannot begin is refused with the first, before anything was trained."""

from typing import Any

import pytest

from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, SpecError
from fedward_core.spec import Spec
from fedward_models.programs.program import open_program

CONTRACT = Contract(classes=("no", "yes"))
VIT = {"name": "vit", "width": 16, "depth": 2, "heads": 2, "patch_px": 8}
TEACHER = {"width": 16, "depth": 3, "heads": 2}
MAE: dict[str, Any] = {"name": "first", "method": "mae", "backbone": {**VIT, "depth": 2}, "rounds": 1}


def planned(*later: dict[str, Any], first: dict[str, Any] = MAE) -> Any:
    stages = [first, *({"rounds": 1, "start_from": "previous", **stage} for stage in later)]
    spec = Spec.parse({"name": "s", "dataset": {"name": "films", "image_px": 16}, "stages": stages})
    return open_program(spec, 0).plan(CONTRACT, None)


def test_stages_that_fit_leave_the_first_plan_as_it_is() -> None:
    probe = {"name": "probe", "method": {"name": "probe", "weights": "previous"}}
    alone, followed = planned(), planned(probe, {"name": "on", "method": "supervised"})
    assert alone[0] == followed[0]
    assert all((alone[1][name] == followed[1][name]).all() for name in alone[1])


@pytest.mark.parametrize(
    ("later", "error", "message"),
    [
        (
            {"method": {"name": "dmae", "teacher": TEACHER, "taps": [[1, 1]]}, "backbone": VIT},
            SpecError,
            "teacher.depth",
        ),
        ({"method": {"name": "evp", "weights": "previous"}}, CheckpointError, "lacks"),
        (
            {"method": {"name": "probe", "weights": "previous", "normalisation": "imagenet"}},
            SpecError,
            "for colour images",
        ),
    ],
)
def test_a_stage_that_cannot_begin_is_named_before_the_first_is_trained(
    later: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"stage 'then', which comes later, would fail: .*{message}"):
        planned({"name": "then", **later})
