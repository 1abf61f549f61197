"""What the site allows at this moment: policy and approvals as they stand in its files, read anew at every question.

So a steward's change holds from the next question on, and a file that cannot be read allows nothing.
"""

import logging

from fedward_client.agent.approvals import Approvals
from fedward_client.agent.errors import PolicyError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.machine import free_disk_bytes
from fedward_client.agent.policy import read_policy
from fedward_client.agent.rules import UNREADABLE, Terms, refusal
from fedward_core.fleet_messages import Proposal

log = logging.getLogger(__name__)


class Permissions:
    """The permissions of one site.

    Args:
        home: The agent's folder.
        key: The site's key, which signed its approvals.
        tls: Whether the coordinator is reached by TLS; simulated approvals then have no force.
    """

    def __init__(self, home: AgentHome, key: SiteKey, *, tls: bool) -> None:
        self._home = home
        self._approvals = Approvals(home.approvals, key)
        self._tls = tls

    def terms(self) -> Terms | None:
        """What is allowed; None while policy or approvals cannot be read, and then nothing is."""
        try:
            return Terms(policy=read_policy(self._home.policy), approved=self._approvals.in_force(tls=self._tls))
        except PolicyError as error:
            log.error("%s", error)  # noqa: TRY400 - the sentence says it all
            return None

    def approves(self, app: str) -> bool:
        """Whether an app bundle may run, by its digest."""
        terms = self.terms()
        return terms is not None and app in terms.approved

    def refusal(self, proposal: Proposal) -> str:
        """Why the site does not take part in a new run; empty if it does."""
        terms = self.terms()
        if terms is None:
            return UNREADABLE
        return refusal(proposal, terms, free_disk_bytes=free_disk_bytes(self._home.path))
