"""The coordinator that a command speaks to, as the environment names it."""

from typing import TYPE_CHECKING
from urllib.parse import quote

import typer

if TYPE_CHECKING:
    from fedward_cli.network.coordinator import Coordinator

ENVIRONMENT = "FEDWARD_URL and FEDWARD_KEY name it."


def coordinator() -> "Coordinator":
    """The coordinator that FEDWARD_URL, FEDWARD_KEY and FEDWARD_CA name.

    Raises:
        CoordinatorError: FEDWARD_KEY is not set, or FEDWARD_CA cannot be read.
    """
    from fedward_cli.network.coordinator import Coordinator  # httpx is slow to import

    return Coordinator.of_environment()


def path_of(*names: str) -> str:
    """The path that names lead to, e.g. ``/runs/quickstart-1/events``, whatever signs are in them.

    Raises:
        BadParameter: A name is empty, as that of a variable which is not set.
    """
    if not all(names):
        raise typer.BadParameter("a name is empty: expected that of a run, a site or a key")
    return "".join(f"/{quote(name, safe='')}" for name in names)
