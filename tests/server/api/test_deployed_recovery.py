"""A coordinator that is killed again and again during a run at enrolled sites: agents, SuperLink and run go on."""

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_cli.network.local_network import STUDY, Network, network
from fedward_cli.network.sites import sites_of
from fedward_core import registry
from fedward_core.arrays import digest, read_arrays
from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_models.data import generate

ROUNDS = 12
KILLED_AFTER = (0, 0, 1, 3, 5)  # rounds; at a random moment from then on
SITES = 3
DEADLINE_S = 400.0


def weights(folder: Path) -> str:
    return digest(read_arrays(folder / "stages" / "only" / "final.safetensors")[0])


def spec() -> dict[str, Any]:
    stage = {"name": "only", "method": "rehearsal", "rounds": ROUNDS}
    dataset = {"name": "simulated", "image_px": 16}
    cohort = {"min_sites": SITES, "round_deadline_s": 400}
    evaluate = {"every": ROUNDS}
    return {
        "name": "drill",
        "seed": 7,
        "dataset": dataset,
        "cohort": cohort,
        "evaluate": evaluate,
        "stages": [stage],
    }


def kill_coordinator(net: Network) -> None:
    child = net.children["coordinator"]
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdin is not None
    child.stdin.close()


def events_of(net: Network) -> Any:
    return net.coordinator.get("/runs/drill-1/events?limit=10000")


def reach(net: Network, rounds: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while [event["kind"] for event in events_of(net)].count("round_finished") < rounds:
        run = net.coordinator.get("/runs/drill-1")
        assert run["state"] != "failed", run["reason"]
        assert time.monotonic() < deadline, events_of(net)[-1]
        time.sleep(0.5)


def wait_for(net: Network, *states: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while (run := net.coordinator.get("/runs/drill-1"))["state"] not in states:
        assert time.monotonic() < deadline, run
        time.sleep(0.1)
    return run


@pytest.mark.slow
def test_a_coordinator_killed_five_times_ends_the_run_with_the_same_weights(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    generate(data, sites=SITES, images_per_site=20, image_px=16, seed=1)
    names = tuple(sorted(path.stem for path in data.glob("*.npz")))
    random = np.random.default_rng(3)
    with network(tmp_path / "network", sites_of(data, names), dataset="simulated") as net:
        net.coordinator.post("/runs", {"study": STUDY, "spec": spec(), "run": "drill-1"})
        for rounds in KILLED_AFTER:
            reach(net, rounds)
            time.sleep(float(random.uniform(0, 3)))  # it may be while sites are asked, amid the start, or in a round
            kill_coordinator(net)
            net.start_coordinator()
        run = wait_for(net, "completed", "failed", "cancelled")
        assert (run["state"], run["attempt"], run["cohort"]) == ("completed", 1, list(names)), run
        events = events_of(net)
        finished = [event["round"] for event in events if event["kind"] == "round_finished"]
        assert finished == list(range(ROUNDS))
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    alone = Job(spec=Spec.parse(spec()), run="alone", sites=names, data=data, out=tmp_path / "alone")
    registry.resolve("engines", "inline")().run(alone, lambda event: None)
    assert weights(tmp_path / "network" / "coordinator" / "runs" / "drill-1") == weights(tmp_path / "alone")
