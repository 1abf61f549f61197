"""A site's home folder: its enrolment, its key, its policy, its datasets, and whether it has approved this release."""

import os
from collections.abc import Iterator
from pathlib import Path

from fedward_cli.checkup.finding import Finding, fault, warning, well
from fedward_client.agent.approvals import Approvals
from fedward_client.agent.errors import AgentError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.membership import Enrolled, read_enrolled
from fedward_client.agent.policy import SitePolicy, read_policy


def examine_site(home: AgentHome, app: str) -> Iterator[Finding]:
    """Look at a site's home folder.

    Args:
        home: The folder.
        app: The digest of the app bundle of the release that is installed.
    """
    try:
        enrolled = read_enrolled(home)
        yield well("enrolment", f"this is site '{enrolled.membership.site}'")
        key = SiteKey.read(home.key)
        yield well("site key", "can be read by its owner only")
        yield _approval(Approvals(home.approvals, key), enrolled, app)
    except AgentError as error:
        yield fault("enrolment", str(error))
    try:
        policy = read_policy(home.policy)
    except AgentError as error:
        yield fault("policy", str(error))
        return
    yield well("policy", "site.yaml can be read")
    yield from _datasets(policy)
    yield from _user(policy)


def _approval(approvals: Approvals, enrolled: Enrolled, app: str) -> Finding:
    about = "app bundle"
    if app in approvals.in_force(tls=enrolled.tls):
        return well(about, f"that of this release is approved ({app[:16]})")
    if app in approvals.in_force(tls=False):
        return fault(about, "it was approved at a simulated site, which has no force where TLS is on: approve it anew")
    return fault(about, f"that of this release ({app[:16]}) is not approved: fedward agent approve --release")


def _datasets(policy: SitePolicy) -> Iterator[Finding]:
    if not policy.datasets:
        yield fault("datasets", "the site offers none: name them in site.yaml")
    for name, offer in policy.datasets.items():
        yield _dataset(f"dataset {name}", offer.path)


def _dataset(about: str, path: Path) -> Finding:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return fault(about, f"there is nothing at {path}: mend its path in site.yaml")
    except OSError as error:
        return fault(about, f"cannot be looked at ({error.strerror}): let the user read it as whom the agent runs")
    return well(about, "is there; `fedward data inspect` looks into it")


def _user(policy: SitePolicy) -> Iterator[Finding]:
    if policy.run_as and os.geteuid() != 0:
        yield warning(
            "run_as", "the doctor does not run as root, and so cannot tell whether client apps can change user"
        )
