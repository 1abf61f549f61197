"""Takes up an invitation: makes the site's key, tells the coordinator its public half, and lays out the home folder."""

from pathlib import Path
from urllib.parse import urlsplit

from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.errors import AgentError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.machine import versions
from fedward_client.agent.membership import Enrolled, write_enrolled
from fedward_core.fleet_messages import Enrolment
from fedward_core.loopback import HERE

TEMPLATE = Path(__file__).with_name("site.yaml")


def enrol(home: AgentHome, url: str, token: str, *, authority: Path | None = None, insecure: bool = False) -> Enrolled:
    """Enrol a site.

    Args:
        home: The agent's folder; a key that an earlier try made there is used again.
        url: The coordinator's address.
        token: The one-time token of the invitation.
        authority: The certificate of the authority that signed the coordinator's, if it is no public one; it is kept.
        insecure: Allow plain HTTP to another machine, where everybody on the way can read along.

    Raises:
        AgentError: The site is enrolled already, the address or certificate cannot be used, or the coordinator does
            not answer or refuses the token.
    """
    _check_address(url, insecure=insecure)
    if home.membership.exists():
        raise AgentError("this home folder belongs to an enrolled site: choose another --home")
    certificate = _read_authority(authority) if authority else None
    home.make()
    key = SiteKey.read(home.key) if home.key.exists() else SiteKey.make(home.key)
    with Coordinator(url, authority=authority) as coordinator:
        membership = coordinator.enrol(Enrolment(token=token, public_key=key.public_pem, versions=versions()))
    enrolled = Enrolled(url=url.rstrip("/"), membership=membership)
    if certificate is not None:
        home.authority.write_bytes(certificate)
    write_enrolled(home, enrolled)
    if not home.policy.exists():
        home.policy.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    return enrolled


def _check_address(url: str, *, insecure: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise AgentError(f"'{url}' is no address of a coordinator: expected https://HOST:PORT")
    if parts.scheme == "http" and parts.hostname not in HERE and not insecure:
        raise AgentError(
            "the coordinator's address is plain HTTP on another machine: the site's API key could be read on the way. "
            "Use https://, or --insecure for a trial with simulated data"
        )


def _read_authority(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AgentError(f"the certificate given with --ca cannot be read: {error.strerror}") from None
