"""Holds what a client app is about to import against what the site has approved: the very bytes that have come.

The task that the agent judged names a digest, and the bundle comes later, by another call. Flower's names of a bundle
become a folder's name, and are a coordinator's words: with a path among them, code from elsewhere would be imported.
"""

import hashlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from fedward_client.agent.errors import AgentError

INSTALL, FIND = "install_from_fab", "get_project_dir"
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def admit_only(module: ModuleType, app: str) -> None:
    """Let Flower's client app lay out and import one bundle only, where its module does so.

    Args:
        module: Flower's.
        app: The bundle's SHA-256 in hexadecimal, which the site has approved.
    """
    functions = vars(module)
    functions[INSTALL] = partial(_install, functions[INSTALL], app)
    functions[FIND] = partial(_find, functions[FIND], app)


def _install(flowers: Callable[..., Path], app: str, content: bytes, **rest: Any) -> Path:
    if hashlib.sha256(content).hexdigest() != app:
        raise AgentError("the app that came is not the one that was approved, and was not unpacked")
    return flowers(content, **rest)


def _find(flowers: Callable[[str, str, str], Path], app: str, name: str, version: str, digest: str) -> Path:
    if digest != app or not all(PLAIN.fullmatch(word) for word in (*name.split("/"), version)):
        raise AgentError(
            f"the app is called {name!r} of version {version!r}, which names no folder: nothing was imported"
        )
    return flowers(name, version, digest)
