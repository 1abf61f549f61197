"""The agent's folder, which only one agent uses and only its user can read.

<home>/site.yaml          the site's policy and its datasets, written and read by people
<home>/approvals.json     the app bundles that its steward has approved, each signed at the site
<home>/membership.json    where the coordinator is, and the site's API key
<home>/key.pem            the site's private key; it never leaves this machine
<home>/ca.pem             the certificate of the authority that signed the coordinator's, where it is not a public one
<home>/consents/<run>     runs that the site takes part in, with the specs that it agreed to
<home>/catalogue/         links to the datasets
<home>/weights/           frozen weights: those that a person put here, and those that were fetched, by their digests
<home>/private/<run>/     private state of runs
<home>/jobs/<id>/         the site's own jobs, and what they have trained
<home>/slot/              who trains now
<home>/superexec.secret   what the SuperNode asks of whoever takes its tasks; another one at each start
<home>/flower/, *.log     what Flower keeps, and what the agent's processes say
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedward_client.agent.errors import AgentError
from fedward_core.claim import claimed


@dataclass(frozen=True)
class AgentHome:
    """Names what lies in the folder.

    Attributes:
        path: The folder, absolute.
    """

    path: Path

    @property
    def policy(self) -> Path:
        """The site's policy."""
        return self.path / "site.yaml"

    @property
    def approvals(self) -> Path:
        """The approved app bundles."""
        return self.path / "approvals.json"

    @property
    def membership(self) -> Path:
        """Where the coordinator is, and the site's API key."""
        return self.path / "membership.json"

    @property
    def key(self) -> Path:
        """The site's private key."""
        return self.path / "key.pem"

    @property
    def authority(self) -> Path:
        """The certificate of the coordinator's authority."""
        return self.path / "ca.pem"

    @property
    def consents(self) -> Path:
        """The runs that the site takes part in."""
        return self.path / "consents"

    @property
    def catalogue(self) -> Path:
        """Links to the datasets."""
        return self.path / "catalogue"

    @property
    def weights(self) -> Path:
        """Frozen weights that runs have needed."""
        return self.path / "weights"

    @property
    def private(self) -> Path:
        """Private state of runs."""
        return self.path / "private"

    @property
    def jobs(self) -> Path:
        """The site's own jobs."""
        return self.path / "jobs"

    @property
    def slot(self) -> Path:
        """What orders and jobs hold while they train."""
        return self.path / "slot"

    @property
    def is_claimed(self) -> bool:
        """Whether an agent uses the folder now; nothing of it is changed, whoever may pass through it."""
        try:
            with self._lock(make=False):
                return False
        except FileNotFoundError:
            return False
        except AgentError:
            return True

    def make(self) -> None:
        """Make the folder if need be; only its user may read it."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for this agent while the block lasts.

        Raises:
            AgentError: Another agent uses it.
        """
        self.make()
        with self._lock(make=True):
            yield

    def _lock(self, *, make: bool) -> AbstractContextManager[None]:
        busy = AgentError("another agent uses this home folder: end it, or choose another --home")
        return claimed(self.path / "agent.lock", busy, make=make)
