"""What a deployed run with a personalised method lets out: its wire is tapped, and its events and logs are read."""

import select
import socket
import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import read_arrays
from fedward_core.engine import Job
from fedward_core.events import EventKind
from fedward_core.spec import Spec
from fedward_models.data import generate
from fedward_server.engines import local_network
from fedward_server.engines.deployment import DeploymentEngine

LOGS = ("superlink.log", "server-app.log", "supernode.log", "client-app.log", "agent.log")


class Wire(socketserver.ThreadingTCPServer):
    """Lies between the agents and a SuperLink, and keeps what passes, by connection and direction."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Tap)
        self.superlink = ""
        self.passed: dict[object, bytearray] = defaultdict(bytearray)

    def tap(self, superlink: str) -> str:
        self.superlink = superlink
        return f"127.0.0.1:{self.server_address[1]}"


class Tap(socketserver.BaseRequestHandler):
    """One connection."""

    server: Wire

    def handle(self) -> None:
        host, port = self.server.superlink.split(":")
        with socket.create_connection((host, int(port))) as link:
            to = {self.request: link, link: self.request}
            while True:
                for source in select.select(list(to), [], [])[0]:
                    try:
                        piece = source.recv(65536)
                        to[source].sendall(piece)
                    except OSError:
                        return
                    if not piece:
                        return
                    self.server.passed[self, source is link] += piece


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.slow
def test_nothing_private_is_on_the_wire_in_an_event_or_in_a_log(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospitals, out = tmp_path / "hospitals", tmp_path / "out"
    generate(hospitals, sites=2, images_per_site=40, image_px=16, seed=1)
    start = local_network._agent

    def start_tapped(job: Job, site: str, home: Path, superlink: str, digest: str) -> AbstractContextManager[None]:
        return start(job, site, home, wire.tap(superlink), digest)

    monkeypatch.setattr(local_network, "_agent", start_tapped)
    sites = tuple(sorted(path.stem for path in hospitals.glob("*.npz")))
    events: list[Any] = []
    DeploymentEngine().run(Job(spec=spec(), run="run", sites=sites, data=hospitals, out=out), events.append)
    assert events[-1].kind is EventKind.RUN_FINISHED

    passed = b"\0".join(bytes(piece) for piece in wire.passed.values())
    assert sum(name.encode() in passed for name in ("order", "reply", "group.shared")) == 3
    final, _ = read_arrays(out / "stages" / "only" / "final.safetensors")
    assert any(head_of(array) in passed for array in final.values() if array.size > 3)  # what travels would be seen
    logs = b"\0".join(path.read_bytes() for path in (out / "network").rglob("*") if path.name in LOGS)
    written = b"\0".join(path.read_bytes() for path in out.rglob("*") if path.is_file() and is_public(path, out))
    secrets = [*private_parts(out / "sites"), *pixels(hospitals)]
    assert len(secrets) > 60
    for place in (passed, logs, written):
        assert not [name for name, secret in secrets if secret in place]
        for patient in patients(hospitals):
            assert patient.encode() not in place
    assert str(hospitals).encode() not in passed + written


def spec() -> Spec:
    stage = {
        "name": "only",
        "method": "supervised",
        "backbone": {"name": "small_cnn", "widths": [4, 8], "hidden": [16], "norm": "batch"},
        "personalise": {"name": "channel_decoupling", "private": 0.5, "ramp_rounds": 1},
        "rounds": 3,
        "local": {"batch_size": 8, "optimizer": {"name": "adamw", "lr": 0.01}},
    }
    cohort = {"min_sites": 2, "round_deadline_s": 300}
    dataset = {"name": "simulated", "image_px": 16}
    return Spec.parse({"name": "toy", "seed": 7, "dataset": dataset, "cohort": cohort, "stages": [stage]})


def is_public(path: Path, out: Path) -> bool:
    """Whether a file is the coordinator's: neither a site's nor the job that the ServerApp is given."""
    parts = path.relative_to(out).parts
    return parts[0] not in {"sites", "network"}


def private_parts(sites: Path) -> Iterator[tuple[str, bytes]]:
    """Private weights and moments after the switch."""
    for path in sites.rglob("round-*.safetensors"):
        if "round-00000" in path.name:
            continue  # nothing was private yet
        for name, array in read_arrays(path)[0].items():
            values = np.ascontiguousarray(array).reshape(-1)
            for start in range(len(values) - 3):
                if values[start : start + 4].all():
                    yield f"{path.parent.parent.name} {path.name} {name}", values[start : start + 4].tobytes()
                    break


def head_of(array: Any) -> bytes:
    """The first values, which belong to a shared channel."""
    return np.ascontiguousarray(array).reshape(-1)[:4].tobytes()


def pixels(hospitals: Path) -> Iterator[tuple[str, bytes]]:
    for path in hospitals.glob("*.npz"):
        for index, image in enumerate(np.load(path)["images"]):
            yield f"{path.stem} image {index}", image[image.shape[0] // 2].tobytes()


def patients(hospitals: Path) -> Iterator[str]:
    for path in hospitals.glob("*.npz"):
        yield from (str(patient) for patient in np.unique(np.load(path)["patient"]))
