"""Coordinators and attempts are killed, and runs go on under the same id to the same weights."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until

from fedward_core import registry
from fedward_core.arrays import digest, read_arrays
from fedward_core.engine import Job
from fedward_core.processes.process import Process
from fedward_core.spec import Spec

ROUNDS = 100
Kill = Callable[[int], None]


def weights(folder: Path) -> str:
    return digest(read_arrays(folder / "stages" / "only" / "final.safetensors")[0])


def reach(coordinator: Any, run: str, rounds: int) -> None:
    wait_until(lambda: coordinator.kinds(run).count("round_finished") >= rounds)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, drill: Any) -> str:
    """The weights that the engine gives without any coordinator."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sites = ("hill", "north", "river")
    job = Job(spec=Spec.parse(drill(ROUNDS)), run="undisturbed", sites=sites, data=folder, out=folder)
    registry.resolve("engines", "inline")().run(job, lambda event: None)
    return weights(folder)


def test_a_coordinator_that_was_killed_adopts_the_attempt_that_lives_on(
    coordinator: Any, undisturbed: str, attempt_of: Any
) -> None:
    coordinator.submit("drill-1", ROUNDS)
    reach(coordinator, "drill-1", 3)
    before = attempt_of("drill-1")
    coordinator.kill()
    coordinator.start()
    run = coordinator.wait("drill-1", "completed")
    assert (run["attempt"], attempt_of("drill-1")) == (1, before)
    assert coordinator.kinds("drill-1").count("round_finished") == ROUNDS
    assert weights(coordinator.home / "runs" / "drill-1") == undisturbed


def test_a_run_whose_attempt_died_with_the_coordinator_is_taken_up(
    coordinator: Any, undisturbed: str, attempt_of: Any, end: Kill
) -> None:
    coordinator.submit("drill-1", ROUNDS)
    reach(coordinator, "drill-1", 3)
    coordinator.kill()
    end(attempt_of("drill-1"))
    coordinator.start()
    run = coordinator.wait("drill-1", "completed")
    assert run["attempt"] == 2
    assert "run_resumed" in coordinator.kinds("drill-1")
    assert weights(coordinator.home / "runs" / "drill-1") == undisturbed


def test_a_run_that_is_paused_goes_on_from_its_last_round_under_its_id(
    coordinator: Any, undisturbed: str, attempt_of: Any
) -> None:
    coordinator.submit("drill-1", ROUNDS)
    reach(coordinator, "drill-1", 3)
    assert coordinator.call("POST", "/runs/drill-1/pause").json()["state"] == "pausing"
    assert coordinator.wait("drill-1", "paused")["reason"] == "paused on request"
    assert Process.of(attempt_of("drill-1")) is None
    assert coordinator.call("POST", "/runs/drill-1/pause").json()["state"] == "paused"
    reached = coordinator.kinds("drill-1").count("round_finished")
    coordinator.kill()
    coordinator.start()
    assert coordinator.run("drill-1")["state"] == "paused"
    assert coordinator.call("POST", "/runs/drill-1/resume").json()["state"] == "submitted"
    assert coordinator.wait("drill-1", "completed")["attempt"] == 2
    assert 3 <= reached < ROUNDS == coordinator.kinds("drill-1").count("round_finished")
    assert weights(coordinator.home / "runs" / "drill-1") == undisturbed


@pytest.mark.slow
def test_an_attempt_that_was_killed_is_followed_by_another(
    coordinator: Any, undisturbed: str, attempt_of: Any, end: Kill
) -> None:
    coordinator.submit("drill-1", ROUNDS)
    reach(coordinator, "drill-1", 3)
    end(attempt_of("drill-1"))
    assert coordinator.wait("drill-1", "completed")["attempt"] == 2
    assert weights(coordinator.home / "runs" / "drill-1") == undisturbed


@pytest.mark.slow
def test_a_coordinator_that_ends_takes_its_attempts_along_and_goes_on_when_it_starts_again(
    coordinator: Any, undisturbed: str, attempt_of: Any
) -> None:
    coordinator.submit("drill-1", ROUNDS)
    reach(coordinator, "drill-1", 3)
    coordinator.close()
    assert Process.of(attempt_of("drill-1")) is None
    coordinator.start()
    assert coordinator.wait("drill-1", "completed")["attempt"] == 2
    assert weights(coordinator.home / "runs" / "drill-1") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_coordinator_killed_twice_at_random_moments_ends_the_run_with_the_same_weights(
    seed: int, coordinator: Any, undisturbed: str
) -> None:
    random = np.random.default_rng(seed)
    coordinator.submit("drill-1", ROUNDS)
    for _ in range(2):
        time.sleep(float(random.uniform(0, 1.5)))  # it may be before, amid or after the start of the attempt
        coordinator.kill()
        coordinator.start()
    assert coordinator.wait("drill-1", "completed")["attempt"] == 1
    assert coordinator.kinds("drill-1").count("round_finished") == ROUNDS
    assert weights(coordinator.home / "runs" / "drill-1") == undisturbed
