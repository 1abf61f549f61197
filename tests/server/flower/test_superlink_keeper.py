"""The coordinator's SuperLink: adopted, restarted, and closed to whoever has not its secret."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType

from fedward_core.errors import CheckpointError
from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.connection import Connection
from fedward_server.flower.control import FlowerControl, RunRefusedError, UsedKeyError
from fedward_server.flower.superlink import SuperLinkError
from fedward_server.flower.superlink_keeper import StartedSuperLink, SuperLinkKeeper


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[SuperLinkKeeper]:
    made = SuperLinkKeeper(tmp_path / "superlink")
    yield made
    made.end()


def pid_of(keeper: SuperLinkKeeper) -> int:
    kept = keeper._kept()
    assert kept is not None
    return kept.process.pid


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_living_superlink_is_adopted_and_a_killed_one_restarted_with_what_it_knew(keeper: SuperLinkKeeper) -> None:
    address, first = keeper.ensure(), pid_of(keeper)
    north = pem(ec.generate_private_key(ec.SECP384R1()))
    node = keeper.register("north", north)
    after_a_restart = SuperLinkKeeper(keeper.keys.parent)
    assert after_a_restart.ensure() == address
    assert pid_of(after_a_restart) == first

    os.kill(first, signal.SIGKILL)
    assert after_a_restart.ensure() == address
    assert pid_of(after_a_restart) != first
    assert after_a_restart.register("north", north) == node
    with pytest.raises(UsedKeyError, match=r"move key\.pem"):
        after_a_restart.register("hill", north)
    with pytest.raises(RunRefusedError):
        after_a_restart.register("hill", pem(rsa.generate_private_key(65537, 2048)))
    moved = pem(ec.generate_private_key(ec.SECP384R1()))
    assert after_a_restart.register("north", moved) != node
    assert after_a_restart.sites() == {"north"}
    with pytest.raises(RunRefusedError):  # of two keys of one name, the newer is in
        after_a_restart.register("north", north)
    after_a_restart.forget("north")
    after_a_restart.forget("north")
    assert after_a_restart.sites() == frozenset()
    with pytest.raises(UsedKeyError):
        after_a_restart.register("north", moved)

    keeper.end()
    keeper.end()
    assert not Connection(address=address).healthy()


def test_a_superlink_that_cannot_be_noted_down_does_not_live_on(
    keeper: SuperLinkKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[StartedSuperLink] = []

    def full(superlink: StartedSuperLink, home: Path) -> None:
        started.append(superlink)
        raise CheckpointError("cannot write 'process.json': No space left on device")

    monkeypatch.setattr(StartedSuperLink, "write", full)
    with pytest.raises(CheckpointError, match="No space left"):
        keeper.ensure()
    assert [superlink.process.is_alive for superlink in started] == [False]


def test_tasks_are_given_only_to_whoever_has_the_secret(keeper: SuperLinkKeeper) -> None:
    inside = Connection(address=keeper.ensure(), keys=keeper.keys)
    assert (keeper.keys / "superexec.secret").stat().st_mode & 0o777 == 0o600
    assert keeper.keys.stat().st_mode & 0o777 == 0o700
    with FlowerControl(inside) as control:
        run = control.start_run(build_bundle().content, {"run": "one", "spec": "{}"})
    request = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
    outside = Connection(address=inside.address).runtime()
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        outside.AcquireTask(request)
    outside.close()
    client = inside.runtime()
    assert client.AcquireTask(request).task.run_id == run
    client.close()


def test_a_superlink_that_cannot_start_says_so_and_leaves_nothing(keeper: SuperLinkKeeper) -> None:
    (keeper.keys.parent / "superlink.db").mkdir(parents=True)
    with pytest.raises(SuperLinkError, match="its log says why"):
        keeper.ensure()
    kept = keeper._kept()
    assert kept is not None
    assert not kept.process.is_alive
