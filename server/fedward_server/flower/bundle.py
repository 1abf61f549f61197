"""The app bundle that Flower carries to sites: names of installed code, and no code.

A site approves the bundle's digest once for each release. What a run does differently stands in its run config, which
the installed packages validate; it reaches every node, so nothing secret may stand in it.
"""

import hashlib
import warnings
from dataclasses import dataclass

import flwr
from flwr.app import UserConfig
from flwr.cli.build import build_fab_from_files

from fedward_core import __version__
from fedward_core.engine import Job

_LICENSE = "Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
_PYPROJECT = """\
[project]
name = "fedward"
version = "{version}"
dependencies = ["flwr>={flower}"]
license = {{file = "LICENSE"}}

[tool.flwr.app]
publisher = "fedward"
fab-format-version = 1
flwr-version-target = "{flower}"

[tool.flwr.app.components]
serverapp = "fedward_server.flower.deployed_run:app"
clientapp = "fedward_client.flower.deployed_site:app"

[tool.flwr.app.config]
run = ""
spec = ""
"""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A Flower app bundle.

    Attributes:
        content: The archive.
        digest: Its SHA-256 in hexadecimal: what a site approves.
    """

    content: bytes
    digest: str


def build_bundle() -> Bundle:
    """The bundle of this release. The same versions of Fedward and Flower give the same bytes."""
    pyproject = _PYPROJECT.format(version=__version__, flower=flwr.__version__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower 1.41 uses an old name of its pattern library
        content, _ = build_fab_from_files({"pyproject.toml": pyproject.encode(), "LICENSE": _LICENSE.encode()})
    return Bundle(content=content, digest=hashlib.sha256(content).hexdigest())


def run_config(job: Job) -> UserConfig:
    """What every node is told of a job: its id and its spec."""
    return {"run": job.run, "spec": job.spec.model_dump_json()}
