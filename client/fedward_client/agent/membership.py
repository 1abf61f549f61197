"""What the agent keeps of its enrolment: where the coordinator is, and how it is spoken to."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from fedward_client.agent.errors import AgentError
from fedward_client.agent.home import AgentHome
from fedward_core.atomic import write_secret
from fedward_core.config import Frozen
from fedward_core.fleet_messages import Membership


class Enrolled(Frozen):
    """A site's membership of a coordinator's fleet.

    Attributes:
        url: The coordinator's address, without a path.
        membership: What the coordinator said when the site was enrolled.
    """

    url: str
    membership: Membership

    @property
    def tls(self) -> bool:
        """Whether the coordinator is reached by TLS."""
        return self.url.startswith("https://")

    @property
    def fleet(self) -> str:
        """``host:port`` where the SuperNode connects."""
        host, _, port = self.membership.fleet.rpartition(":")
        return f"{host or urlsplit(self.url).hostname}:{port}"


def read_enrolled(home: AgentHome) -> Enrolled:
    """The membership that a home folder holds.

    Raises:
        AgentError: The site is not enrolled, or the file is damaged.
    """
    try:
        return Enrolled.model_validate_json(home.membership.read_bytes())
    except FileNotFoundError:
        raise AgentError("this site is not enrolled: ask for an invitation, then `fedward agent enrol`") from None
    except (OSError, ValidationError):
        raise AgentError("membership.json cannot be read: restore it, or enrol the site anew") from None


def write_enrolled(home: AgentHome, enrolled: Enrolled) -> None:
    """Keep a membership; it holds the site's API key."""
    write_secret(home.membership, enrolled.model_dump_json(indent=2).encode() + b"\n")


def authority_of(home: AgentHome) -> Path | None:
    """The certificate that the coordinator's is checked with; None where the system's authorities are."""
    return home.authority if home.authority.exists() else None
