"""Sites are told of the packages of which a run's spec names parts, as they are at the coordinator."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.errors import SpecError
from fedward_core.fleet_messages import Proposal
from fedward_core.packages import Package
from fedward_server.runs.rows import RunRow
from fedward_server.sites import board, queries

PACKAGE = Package(name="own-method", version="1.0", sha256="0" * 64)


def test_a_proposal_tells_the_packages_of_its_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"focal": (PACKAGE,)}
    monkeypatch.setattr(board, "packages_named", lambda spec: named.get(spec["method"], ()))
    assert proposal("focal").packages == (PACKAGE,)
    assert proposal("supervised").packages == ()


def test_the_packages_of_a_run_are_read_once_for_all_its_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """To know a package is to read its files, and the board is read twice a second."""
    read: list[str] = []

    def named(spec: dict[str, str]) -> tuple[Package, ...]:
        read.append(spec["method"])
        return (PACKAGE,)

    class Session:
        async def scalars(self, _: object) -> Any:
            return SimpleNamespace(all=lambda: [run("focal", "north", "hill", "river"), run("mae", "north")])

    async def answers(*_: object) -> list[Any]:
        return [SimpleNamespace(run="mae", site="north"), SimpleNamespace(run="focal", site="hill")]

    monkeypatch.setattr(board, "packages_named", named)
    monkeypatch.setattr(queries, "answers_to", answers)
    found = asyncio.run(board._proposals(cast("AsyncSession", Session())))
    assert {site: [each.run for each in proposals] for site, proposals in found.items()} == {
        "north": ["focal"],
        "river": ["focal"],
    }
    assert read == ["focal"]


def test_a_run_whose_package_has_no_digest_keeps_no_other_run_from_its_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(spec: dict[str, str]) -> tuple[Package, ...]:
        if spec["method"] == "broken":
            raise SpecError("its code cannot be read")
        return ()

    class Session:
        async def scalars(self, _: object) -> Any:
            return SimpleNamespace(all=lambda: [run("broken", "north"), run("mae", "north")])

    async def answers(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(board, "packages_named", named)
    monkeypatch.setattr(queries, "answers_to", answers)
    found = asyncio.run(board._proposals(cast("AsyncSession", Session())))
    assert [each.run for each in found["north"]] == ["mae"]


def proposal(method: str) -> Proposal:
    return board._proposal(run(method))


def run(method: str, *sites: str) -> RunRow:
    spec = {"method": method}
    return RunRow(
        id=method, study="s", spec=spec, spec_digest="d", app="a" * 64, recruits_until_s=1.0, sites=list(sites)
    )
