"""The folder in which a coordinator keeps everything, and that only one coordinator uses.

<home>/coordinator.db   keys, studies, sites, runs and events, unless they are in a PostgreSQL database
<home>/coordinator.id   which home folder it is
<home>/runs/<id>/       one folder a run
<home>/superlink/       what Flower's server keeps for enrolled sites
<home>/stages/<study>/  finished stages of a study's runs, for those that begin alike
<home>/weights/         frozen weights that sites fetch, by their digests
<home>/studies/         empty folders of studies without data
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedward_core.atomic import replacing
from fedward_core.claim import claimed
from fedward_server.errors import ConflictError
from fedward_server.runs.folder import RunFolder


@dataclass(frozen=True)
class Home:
    """Names what lies in the folder.

    Attributes:
        path: The folder, absolute.
    """

    path: Path

    @property
    def database(self) -> Path:
        """The database."""
        return self.path / "coordinator.db"

    @property
    def identity(self) -> str:
        """Which folder it is, wherever it is moved to; known once it is claimed."""
        return (self.path / "coordinator.id").read_text(encoding="ascii")

    @property
    def superlink(self) -> Path:
        """What Flower's server keeps for enrolled sites."""
        return self.path / "superlink"

    def run(self, run: str) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "runs" / run)

    def stages(self, study: str) -> Path:
        """Finished stages of a study's runs. Studies share none, as they may have members of their own."""
        return self.path / "stages" / study

    @property
    def weights(self) -> Path:
        """Frozen weights that sites fetch."""
        return self.path / "weights"

    def empty(self, study: str) -> Path:
        """The empty folder that stands for the data of a study without any."""
        return self.path / "studies" / study

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder if need be, and hold it for this coordinator while the block lasts.

        Raises:
            ConflictError: Another coordinator uses it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)  # the database and the private stores of simulated sites are nobody else's
        busy = ConflictError("another coordinator uses this home folder: end it, or choose another --home")
        with claimed(self.path / "coordinator.lock", busy):
            self._identify()
            yield

    def _identify(self) -> None:
        path = self.path / "coordinator.id"
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_text(secrets.token_hex(16), encoding="ascii")
