"""The coordinator that a command speaks to, as the environment names it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedward_cli.network.coordinator import Coordinator

ENVIRONMENT = "FEDWARD_URL and FEDWARD_KEY name it."


def coordinator() -> "Coordinator":
    """The coordinator that FEDWARD_URL, FEDWARD_KEY and FEDWARD_CA name.

    Raises:
        CoordinatorError: FEDWARD_KEY is not set, or FEDWARD_CA cannot be read.
    """
    from fedward_cli.network.coordinator import Coordinator  # noqa: PLC0415 - httpx is slow to import

    return Coordinator.of_environment()
