"""The agent as a service, with real processes of its own, beside a coordinator that follows a script."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest
from waiting import wait_until

from fedward_client.agent import node, service
from fedward_client.agent.errors import AgentError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.membership import read_enrolled
from fedward_client.agent.node import Link, SuperNode
from fedward_client.agent.service import AgentService
from fedward_core.fleet_messages import Instructions


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_service_reports_keeps_its_processes_and_leaves_none(home: AgentHome, script: Any) -> None:
    command = "import sys; from pathlib import Path; from fedward_client.agent.home import AgentHome;"
    command += "from fedward_client.agent.service import serve; serve(AgentHome(Path(sys.argv[1])))"
    with subprocess.Popen([sys.executable, "-c", command, str(home.path)], stderr=subprocess.PIPE, text=True) as agent:
        wait_until(lambda: script.bodies("heartbeats") and len(children_of(agent.pid)) >= 2)
        children = children_of(agent.pid)
        assert home.is_claimed
        agent.send_signal(signal.SIGTERM)
        assert agent.stderr is not None
        told = agent.stderr.read()
        assert agent.wait(120) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert "fw_secret" not in told
    assert "the agent has ended, and every process of it" in told


def test_a_site_that_is_not_enrolled_or_has_no_policy_does_not_start(home: AgentHome) -> None:
    home.policy.unlink()
    with pytest.raises(AgentError, match=r"no site\.yaml"):
        AgentService(home)
    home.membership.unlink()
    with pytest.raises(AgentError, match="is not enrolled"):
        AgentService(home)


def test_a_link_speaks_plain_http_without_tls_and_proves_itself_with(home: AgentHome) -> None:
    plain = service._link(home, read_enrolled(home))
    assert plain.arguments() == ["--superlink", "127.0.0.1:1", "--insecure"]
    home.membership.write_text(home.membership.read_text().replace("http://", "https://").replace(": false", ": true"))
    home.authority.write_text("certificate")
    proven = service._link(home, read_enrolled(home)).arguments()
    assert "--insecure" not in proven
    assert proven[2:] == ["--root-certificates", str(home.authority), "--auth-supernode-private-key", str(home.key)]


class FakeNode:
    """A SuperNode that ends when it is told to."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.pid = 1

    def poll(self) -> int | None:
        return self.code


def test_a_supernode_that_ends_is_started_again_later_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, now = list[FakeNode](), [0.0]

    def start(*_: object, **__: object) -> FakeNode:
        started.append(FakeNode())
        return started[-1]

    monkeypatch.setattr(node, "start_child", start)
    monkeypatch.setattr(node, "end_child", lambda child: None)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    supernode = SuperNode(Link(superlink="127.0.0.1:1"), port=1, home=tmp_path, secret=tmp_path / "secret")
    waits = []
    for _ in range(6):
        started[-1].code = 49
        supernode.keep()
        before, count = now[0], len(started)
        while len(started) == count:
            now[0] += 1.0
            supernode.keep()
        waits.append(now[0] - before)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    now[0] += 61.0
    started[-1].code = 1
    supernode.keep()
    count, before = len(started), now[0]
    while len(started) == count:
        now[0] += 1.0
        supernode.keep()
    assert now[0] - before == 5.0


def test_what_the_coordinator_asks_is_obeyed() -> None:
    agent = Mock()
    service._obey(agent, Instructions(interval_s=1, ended=("one", "two"), active=True))
    assert agent.method_calls == [call.pace.worked(), call.end_run("one"), call.end_run("two")]
    service._obey(agent, Instructions(interval_s=1))
    assert len(agent.method_calls) == 3


def test_two_agents_of_one_home_are_refused(home: AgentHome) -> None:
    with home.claimed(), pytest.raises(AgentError, match="another agent"):
        service.serve(home)


def test_stopping_before_anything_has_happened_is_fine(home: AgentHome, script: Any) -> None:
    script.stop()
    stop = threading.Event()
    stop.set()
    AgentService(home).run(stop)
