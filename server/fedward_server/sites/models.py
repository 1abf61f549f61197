"""Sites as people see them. What agents say and hear stands in :mod:`fedward_core.fleet_messages`."""

from typing import Annotated

from pydantic import Field

from fedward_core.cards import DatasetCard
from fedward_core.config import Frozen
from fedward_core.fleet_messages import SITE_NAME, Versions

EnrolledName = Annotated[str, Field(pattern=SITE_NAME)]
HOUR_S = 3600.0
WEEK_S = 7 * 24 * HOUR_S


class CreateInvitationRequest(Frozen):
    """A site to be invited.

    Attributes:
        site: The name that it will have.
        valid_s: How long the token may be used; a day, unless another time is given. Decided here: a token is handed
            over by people, who may work in shifts, and whoever holds it becomes the site.
    """

    site: EnrolledName
    valid_s: float = Field(default=24 * HOUR_S, gt=0, le=4 * WEEK_S)


class Invitation(Frozen):
    """An invitation that was just made. Its token is shown this once and never again."""

    site: str
    token: str
    expires_s: float


class Site(Frozen):
    """An enrolled site, as everybody may see it.

    Attributes:
        name: Its name.
        enrolled_s: When it enrolled, in seconds since the epoch.
        online: Whether it was heard of lately.
        last_seen_s: When it was heard of last; None before its first heartbeat.
        versions: What ran there then.
        free_disk_bytes: Where its private state lies.
        gpus: Names of the GPUs that its agent may use.
        clock_offset_s: Its clock less the coordinator's, with the time that the message took.
        approved: Digests of the app bundles that may run there.
        runs: Runs whose client apps are at work there.
        datasets: Its datasets in counts.
    """

    name: str
    enrolled_s: float
    online: bool
    last_seen_s: float | None
    versions: Versions
    free_disk_bytes: int | None
    gpus: tuple[str, ...]
    clock_offset_s: float | None
    approved: tuple[str, ...]
    runs: tuple[str, ...]
    datasets: tuple[DatasetCard, ...]


class Dataset(Frozen):
    """A dataset over all enrolled sites that have it.

    Attributes:
        name: Its name.
        cards: One for each site, by its name.
    """

    name: str
    cards: tuple[DatasetCard, ...]
