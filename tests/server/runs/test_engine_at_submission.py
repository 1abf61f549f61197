"""Which engine a submitted run gets, and that it is refused at once where this machine lacks what the run needs."""

from typing import Any

import pytest

from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_server.errors import InvalidError
from fedward_server.runs import service
from fedward_server.runs.models import CreateRunRequest
from fedward_server.studies.models import Study

STAGE = {"name": "only", "method": "supervised", "backbone": {"name": "vit"}, "rounds": 1}
SPEC: dict[str, Any] = {"name": "toy", "dataset": {"name": "toy"}, "stages": [STAGE]}


def study(*, enrolled: bool) -> Study:
    return Study(
        name="toy",
        sites=("hill", "north", "river"),
        enrolled=enrolled,
        classes=(),
        has_data=not enrolled,
        created_s=0.0,
    )


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were asked whether they can work here; none can."""
    asked: list[str] = []

    def refuse(engine: str, spec: Spec) -> None:
        asked.append(engine)
        raise SpecError(f"no torch for {spec.name}")

    monkeypatch.setattr(service, "check_installed", refuse)
    return asked


@pytest.mark.parametrize(("wanted", "asked"), [(None, "inline"), ("ray", "ray"), ("deployment", "deployment")])
def test_a_run_on_this_machine_is_refused_where_the_machine_cannot_carry_it_out(
    checked: list[str], wanted: str | None, asked: str
) -> None:
    request = CreateRunRequest(study="toy", spec=SPEC, engine=wanted)
    with pytest.raises(SpecError, match="no torch for toy"):
        service._row(request, Spec.parse(SPEC), study(enrolled=False), None)
    assert checked == [asked]


def test_workers_have_no_effect_on_enrolled_sites_and_are_refused() -> None:
    request = CreateRunRequest(study="toy", spec=SPEC, workers=2)
    with pytest.raises(InvalidError, match="workers has no effect on the enrolled sites of study 'toy'"):
        service._row(request, Spec.parse(SPEC), study(enrolled=True), None)


def test_a_run_at_enrolled_sites_needs_nothing_of_this_machine(checked: list[str]) -> None:
    row = service._row(CreateRunRequest(study="toy", spec=SPEC), Spec.parse(SPEC), study(enrolled=True), None)
    assert (row.engine, checked) == ("deployment", [])


def test_a_run_at_enrolled_sites_is_refused_where_its_package_has_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_spec: object) -> None:
        raise SpecError("its code cannot be read")

    monkeypatch.setattr(service, "packages_named", refuse)
    with pytest.raises(SpecError, match="its code cannot be read"):
        service._row(CreateRunRequest(study="toy", spec=SPEC), Spec.parse(SPEC), study(enrolled=True), None)
