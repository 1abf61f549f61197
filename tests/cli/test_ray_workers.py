"""Several workers for one site are asked for by one option, in the foreground and of the agent."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedward_cli.commands.simulate import RAY_TRAIN
from fedward_client.agent.home import AgentHome
from fedward_core import registry


def test_a_site_trains_with_as_many_workers_as_are_asked_for(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    resolve = registry.resolve

    def noted(kind: str, name: str) -> Any:
        asked.extend([name] if kind == "engines" else [])
        return resolve(kind, name)

    monkeypatch.setattr(registry, "resolve", noted)
    where = ("--site", "north", "--data", bench.data, "--out", bench.out)
    found = bench.call("train", bench.spec(), *where, "--ray-workers", 2)
    assert found.exit_code == 0, found.output
    assert asked == [RAY_TRAIN]
    (job,) = bench.engine.jobs
    assert (job.sites, job.workers) == (("north",), 2)


def test_another_engine_with_workers_of_ray_train_is_refused(bench: Any) -> None:
    where = ("--site", "north", "--data", bench.data, "--out", bench.out)
    found = bench.call("train", bench.spec(), *where, "--engine", "ray", "--ray-workers", 2)
    assert found.exit_code == 2
    assert not bench.engine.jobs


def test_a_job_keeps_how_many_workers_it_asks_for(bench: Any, tmp_path: Path) -> None:
    home = AgentHome(tmp_path / "agent")
    home.make()
    home.policy.write_text("datasets: {simulated: {path: /srv/ward}}\n")
    bench.call("job", "submit", bench.spec(), "--home", home.path, "--ray-workers", 2)
    (listed,) = json.loads(bench.call("job", "list", "--home", home.path, "--json").stdout)
    assert listed["work"] == {"kind": "train", "ray_workers": 2}
