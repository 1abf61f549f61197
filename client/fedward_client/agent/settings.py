"""What an agent is told by its hospital. No run can change it."""

from pathlib import Path

from pydantic import Field

from fedward_core.config import Frozen


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

    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    superlink: str
    data: Path
    private: Path
    home: Path
    approved: frozenset[str]

    def approves(self, app: str) -> bool:
        """Whether an app bundle may run, by its digest."""
        return app in self.approved
