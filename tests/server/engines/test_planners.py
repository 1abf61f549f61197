"""Stages are planned on this machine, and what does not fit it is told."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fedward_core.cards import Contract
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_models.programs import memory
from fedward_server.engines.planners import plan_here
from fedward_server.rounds.planning import PlanRequest

STAGE = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1}
SPEC: dict[str, Any] = {"name": "toy", "dataset": {"name": "films"}, "stages": [STAGE]}


def test_a_network_that_is_too_large_is_refused_in_words_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other error is told as a fault of Fedward itself."""
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1)
    request = PlanRequest(
        job=Job(spec=Spec.parse(SPEC), run="toy-1", sites=("north",), data=tmp_path, out=tmp_path),
        attempt=1,
        index=0,
        contract=Contract(classes=("a", "b")),
        previous=None,
        exchange=cast("Any", SimpleNamespace()),
        recorder=cast("Any", SimpleNamespace()),
    )
    with pytest.raises(SpecError, match=r"model of stage 'only' could not be built: the network would take 0\.0 GB"):
        plan_here(request)
