"""Client apps as a user of their own, which only root can arrange."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedward_client.agent.errors import AgentError
from fedward_client.agent.node import Link
from fedward_client.agent.site_agent import SiteAgent
from fedward_client.agent.user import check_user, hand_over
from fedward_client.flower.app_settings import AppSettings
from fedward_core.frozen_weights import Arrival

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")


class Nothing:
    """Approves nothing."""

    def approves(self, app: str) -> bool:
        return False


@pytest.fixture
def private_umask() -> Iterator[Path]:
    """A folder that other users can pass through, while what is made anew is its maker's alone, as under systemd."""
    made = Path(tempfile.mkdtemp(prefix="fedward-"))
    made.chmod(0o711)
    before = os.umask(0o077)
    yield made
    os.umask(before)
    shutil.rmtree(made)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_root
def test_the_user_gets_what_apps_need_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "agent"
    (home / "private" / "run").mkdir(parents=True)
    (home / "key.pem").touch(mode=0o600)
    (home / "site.yaml").touch(mode=0o644)
    (home / "jobs" / "study-1").mkdir(parents=True)
    (home / "data").mkdir(mode=0o755)
    closed = [home / name for name in ("key.pem", "site.yaml", "jobs", "none.log")]
    hand_over(home, "nobody", own=[home / "private", home / "work"], read=[home / "consents"], closed=closed)
    nobody = pwd.getpwnam("nobody")
    assert mode_of(home) == 0o711
    for folder in (home / "private", home / "private" / "run", home / "work"):
        assert folder.stat().st_uid == nobody.pw_uid
    assert mode_of(home / "private") == 0o700
    assert (home / "consents").stat().st_uid == 0
    assert (home / "consents").stat().st_gid == nobody.pw_gid
    assert mode_of(home / "consents") == 0o750
    assert ((home / "key.pem").stat().st_uid, mode_of(home / "key.pem")) == (0, 0o600)
    assert (mode_of(home / "site.yaml"), mode_of(home / "jobs")) == (0o600, 0o700)  # everybody knows their names
    assert mode_of(home / "data") == 0o755  # apps read it as whoever they are


@needs_root
def test_a_link_that_the_user_left_gives_it_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "agent"
    (home / "private").mkdir(parents=True)
    (home / "key.pem").touch(mode=0o600)
    (home / "private" / "link").symlink_to(home / "key.pem")
    hand_over(home, "nobody", own=[home / "private"], read=[])
    assert (home / "key.pem").stat().st_uid == 0
    assert (home / "private" / "link").lstat().st_uid == pwd.getpwnam("nobody").pw_uid


@needs_root
def test_the_user_reads_weights_that_the_agent_has_fetched_since(private_umask: Path) -> None:
    (home := private_umask / "agent").mkdir()
    places = {name: home / name for name in ("data", "private", "consents")}
    settings = AppSettings(site="north", run_as="nobody", **places)
    SiteAgent(settings, link=Link(superlink=""), home=home, approvals=Nothing())._hand_over()
    content = save({"weight": np.zeros(3, np.float32)})
    with Arrival(home / "weights", hashlib.sha256(content).hexdigest()) as arrival:
        arrival.add(content)
        arrival.keep()
    (file,) = (home / "weights").iterdir()
    nobody, somebody = pwd.getpwnam("nobody"), 12345
    for user, group, reads in ((nobody.pw_uid, nobody.pw_gid, True), (somebody, somebody, False)):
        done = subprocess.run(
            ["/bin/cat", file], user=user, group=group, extra_groups=(), capture_output=True, check=False
        )
        assert (done.returncode == 0) is reads


@needs_root
def test_there_is_no_way_back_for_a_process_that_has_become_another_user() -> None:
    code = (
        "import os; from fedward_client.agent.user import become; become('nobody'); print(os.getuid(), os.getgid())\n"
        "try: os.setuid(0)\n"
        "except PermissionError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    nobody = pwd.getpwnam("nobody")
    assert done.stdout.split() == [str(nobody.pw_uid), str(nobody.pw_gid), "refused"]


@needs_root
def test_a_user_that_does_not_exist_is_said() -> None:
    with pytest.raises(AgentError, match="no such user"):
        check_user("no-such-user")


@needs_root
def test_a_user_that_cannot_use_this_python_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(hidden / "python"))
    with pytest.raises(AgentError, match="install it for all users"):
        check_user("nobody")


def test_without_root_no_user_can_be_changed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AgentError, match="runs as root"):
        check_user("nobody")
