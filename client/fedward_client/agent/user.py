"""Runs client apps as a user of their own, which cannot read the site's keys. Only root can change to another user.

home            0711, root's         everybody passes through, and lists nothing
key.pem, jobs   0600, 0700, root's   and the agent's other files; datasets that lie here stay as they are
consents        0750, root's         the user's group reads; weights too
private, work   0700, the user's
"""

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from fedward_client.agent.errors import AgentError

THROUGH, READ, OWN = 0o711, 0o750, 0o700


def check_user(name: str) -> None:
    """Make sure that client apps can run as a user.

    Raises:
        AgentError: There is no such user, it cannot use this Python, or this process is not root's.
    """
    if os.geteuid() != 0:
        raise AgentError("run_as in site.yaml needs an agent that runs as root: start it so, or leave run_as empty")
    entry = _entry(name)
    try:
        command = [sys.executable, "-c", "import fedward_client"]
        subprocess.run(  # noqa: S603 - our own interpreter
            command, user=entry.pw_uid, group=entry.pw_gid, extra_groups=(), cwd="/", capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise AgentError(
            f"user '{name}' cannot use the Python that the agent runs with: install it for all users"
        ) from None


def hand_over(home: Path, name: str, *, own: Iterable[Path], read: Iterable[Path], closed: Iterable[Path] = ()) -> None:
    """Let a user into the folders that client apps need, and into no other; other users get into none.

    Args:
        home: The agent's folder.
        name: The user.
        own: Folders that become the user's; made if need be.
        read: Folders that the user's group may read; made if need be.
        closed: What else lies in the agent's folder and is for its owner alone.
    """
    entry = _entry(name)
    _close(closed)
    home.chmod(THROUGH)
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
        _give(folder, entry)
        folder.chmod(OWN)
    for folder in read:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, -1, entry.pw_gid)
        folder.chmod(READ)


def _close(paths: Iterable[Path]) -> None:
    """Leave what everybody could reach by its name, now that the home lets all through, to its owner."""
    for path in paths:
        if path.exists() and not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & OWN)


def _give(folder: Path, entry: pwd.struct_passwd) -> None:
    """Give a folder with all that is in it. Nothing is followed: a link that the user left there may lead anywhere.

    Each is named within a folder that is open, in whose place nobody can put another one meanwhile.
    """
    os.chown(folder, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    for _, folders, files, descriptor in os.fwalk(folder):
        for name in (*folders, *files):
            os.chown(name, entry.pw_uid, entry.pw_gid, dir_fd=descriptor, follow_symlinks=False)


def become(name: str) -> None:
    """Be another user from now on; there is no way back."""
    entry = _entry(name)
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


def _entry(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise AgentError(f"run_as in site.yaml names '{name}', and this machine has no such user") from None
