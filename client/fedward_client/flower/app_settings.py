"""What the client apps of a site are told by its agent. No run can change it."""

import os
from pathlib import Path

from fedward_core.config import Frozen

SETTINGS = "FEDWARD_CLIENT_APP"  # the environment variable that carries the settings to the warm helper and its forks


class AppSettings(Frozen):
    """One site, as its client apps see it.

    Attributes:
        site: The site's name.
        data: The folder with the site's data.
        by_dataset: Whether that folder holds one for each dataset, as an agent's catalogue does.
        private: The folder for private state, a folder for each run.
        consents: The folder with the runs that the site has agreed to, see :mod:`fedward_client.agent.consents`; None
            where every run of an approved app may work.
        slot: The folder of the site's slot, which orders hold while they train; None where nothing is shared.
        run_as: The user that client apps run as; empty for the agent's own.
    """

    site: str
    data: Path
    by_dataset: bool = False
    private: Path
    consents: Path | None = None
    slot: Path | None = None
    run_as: str = ""

    def data_of(self, dataset: str) -> Path:
        """The folder that holds the site's part of a dataset, under the site's name."""
        return self.data / dataset if self.by_dataset else self.data


def read_settings() -> AppSettings:
    """The settings of this process."""
    return AppSettings.model_validate_json(os.environ[SETTINGS])
