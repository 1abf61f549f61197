"""Who may take the tasks of a site's SuperNode, whose port every process of the machine reaches."""

import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory
from waiting import wait_until

from fedward_client.agent import node, site_agent
from fedward_client.agent.node import Link, SuperNode
from fedward_client.agent.site_agent import SiteAgent
from fedward_client.flower.app_settings import AppSettings
from fedward_client.flower.runtime import connect
from fedward_core.loopback import LOOPBACK, free_port

REQUEST = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])


@pytest.fixture
def address() -> Iterator[str]:
    """A SuperNode's Runtime API that asks for a secret."""
    app, port = create_app(NodeStateFactory(ObjectStoreFactory()), superexec_auth_secret=b"secret"), free_port()
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"{LOOPBACK}:{port}"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("secret", [None, b"guessed"])
def test_a_process_that_does_not_have_the_secret_takes_no_task(address: str, secret: bytes | None) -> None:
    stranger = connect(address, secret=secret)
    with pytest.raises(httpx.HTTPStatusError):
        stranger.AcquireTask(REQUEST)
    stranger.close()


def test_the_agent_takes_tasks_by_the_secret(address: str) -> None:
    agent = connect(address, secret=b"secret")
    assert not agent.AcquireTask(REQUEST).HasField("task")  # there is none yet
    agent.close()


def test_an_agent_makes_a_secret_that_its_supernode_and_itself_alone_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {name: Mock() for name in ("WarmHelper", "SuperExec", "SuperNode")}
    for name, part in parts.items():
        monkeypatch.setattr(site_agent, name, part)
    settings = AppSettings(site="north", data=tmp_path, private=tmp_path / "private")
    secrets = set()
    for _ in range(2):
        with SiteAgent(settings, link=Link(superlink="127.0.0.1:1"), home=tmp_path / "home", approvals=Mock()):
            file = parts["SuperNode"].call_args.kwargs["secret"]
            assert file.read_bytes() == parts["SuperExec"].call_args.kwargs["secret"]
            assert file.stat().st_mode & 0o077 == 0
            secrets.add(file.read_bytes())
    assert min(map(len, secrets)) == 64
    assert len(secrets) == 2


def test_a_supernode_is_told_the_file_and_not_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Mock()
    monkeypatch.setattr(node, "start_child", start)
    SuperNode(Link(superlink="127.0.0.1:1"), port=1, home=tmp_path, secret=tmp_path / "superexec.secret")
    (command,) = start.call_args.args
    assert command[command.index("--superexec-auth-secret-file") + 1] == str(tmp_path / "superexec.secret")


def test_what_an_agent_has_written_is_closed_before_others_may_pass_through_its_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WarmHelper", "SuperExec", "SuperNode"):
        monkeypatch.setattr(site_agent, name, Mock())
    hand_over = Mock()
    monkeypatch.setattr(site_agent, "hand_over", hand_over)
    (tmp_path / "cards.log").touch()
    settings = AppSettings(site="north", data=tmp_path / "data", private=tmp_path / "private", run_as="nobody")
    with SiteAgent(settings, link=Link(superlink="127.0.0.1:1"), home=tmp_path, approvals=Mock()):
        closed = {path.name for path in hand_over.call_args.kwargs["closed"]}
    assert closed == {"site.yaml", "approvals.json", "membership.json", "key.pem", "jobs", "cards.log"}
