"""A network on this machine, for one run: a SuperLink on loopback and one agent for each site.

The same processes and messages as between hospitals, for rehearsals and demonstrations.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedward_core.engine import Job
from fedward_core.processes.launching import end_child, start_child
from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.connection import Connection
from fedward_server.flower.superlink import SuperLink

AGENT = "fedward_client.agent"  # named, not imported: server and client know each other only by their messages


@contextmanager
def local_network(job: Job, home: Path) -> Iterator[tuple[Connection, SuperLink]]:
    """Run a network while the block lasts.

    Args:
        job: Whose sites get an agent each.
        home: Holds all that belongs to the network.

    Raises:
        SuperLinkError: The SuperLink does not start.
    """
    digest = build_bundle().digest
    with ExitStack() as stack:
        superlink = SuperLink(home / f"superlink-{time.time_ns()}", log=home / "superlink.log")
        stack.enter_context(superlink)
        for site in job.sites:
            stack.enter_context(_agent(job, site, home / site, superlink.address, digest))
        yield Connection(address=superlink.address), superlink


@contextmanager
def _agent(job: Job, site: str, home: Path, superlink: str, digest: str) -> Iterator[None]:
    """A site's agent, with the settings that a hospital would write."""
    home.mkdir(parents=True, exist_ok=True)
    settings = {
        "site": site,
        "superlink": superlink,
        "data": str(job.data.absolute()),
        "private": str((job.out / "sites" / site).absolute()),
        "home": str(home.absolute()),
        "approved": [digest],
    }
    path = home / "agent.json"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    child = start_child([sys.executable, "-m", AGENT, str(path)], log=home / "agent.log")
    try:
        yield
    finally:
        end_child(child, patience_s=30.0)
