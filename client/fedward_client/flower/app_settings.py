"""What the client apps of a site are told by its agent. No run can change it."""

import os
from pathlib import Path

from fedward_core.config import Frozen

SETTINGS = "FEDWARD_CLIENT_APP"  # the environment variable that carries the settings to the warm helper and its forks


class AppSettings(Frozen):
    """One site, as its client apps see it.

    Attributes:
        site: The site's name.
        data: The folder with the site's datasets.
        private: The folder for private state, a folder for each run.
        consents: The folder with the runs that the site has agreed to, see :mod:`fedward_client.agent.consents`; None
            where every run of an approved app may work.
    """

    site: str
    data: Path
    private: Path
    consents: Path | None = None


def read_settings() -> AppSettings:
    """The settings of this process."""
    return AppSettings.model_validate_json(os.environ[SETTINGS])
