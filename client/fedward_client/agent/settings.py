"""What an agent without a coordinator is told, in a file: for rehearsals of one run on one machine."""

from pathlib import Path

from pydantic import Field

from fedward_core.config import Frozen
from fedward_core.fleet_messages import SITE_NAME


class AgentSettings(Frozen):
    """One site's agent.

    Attributes:
        site: The site's name.
        superlink: ``host:port`` of the federation's SuperLink.
        data: The folder with the site's datasets.
        private: The folder for private state, a folder for each run.
        home: The agent's own folder: logs, and what Flower keeps.
        approved: SHA-256 digests, in hexadecimal, of the app bundles that may run here; all others are refused.
    """

    site: str = Field(pattern=SITE_NAME)
    superlink: str
    data: Path
    private: Path
    home: Path
    approved: frozenset[str]

    def approves(self, app: str) -> bool:
        """Whether an app bundle may run, by its digest."""
        return app in self.approved
