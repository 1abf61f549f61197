"""What a hospital's agent and the coordinator say to each other over REST. The agent always speaks first.

    POST /api/v1/fleet/enrolments      Enrolment    -> Membership     with a one-time token, once
    POST /api/v1/fleet/heartbeats      Heartbeat    -> Instructions   every few seconds
    PUT  /api/v1/fleet/cards           Cards        -> (nothing)      when the site's datasets have changed
    POST /api/v1/fleet/answers         Answer       -> (nothing)      to a proposal, by the site's own policy
    GET  /api/v1/weights/<sha256>                   -> a file         frozen weights, where its policy says so

Weights that are trained travel through Flower, not here.
"""

from typing import Annotated, Any

from pydantic import Field

from fedward_core.cards import DatasetCard
from fedward_core.config import Frozen
from fedward_core.packages import Package

VERSION = r"^[!-~]{1,100}$"
REASON_CHARS = 500
# What one side tells is kept and shown at the other: in one line, without signs that command a terminal.
LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Line = Annotated[str, Field(pattern=LINE, max_length=200)]
MOST = 1000
SITE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Versions(Frozen):
    """What must be alike at both ends: Flower refuses a peer of another minor version."""

    fedward: str = Field(pattern=VERSION)
    flower: str = Field(pattern=VERSION)


class Enrolment(Frozen):
    """A site's first words.

    Attributes:
        token: The invitation's one-time token.
        public_key: The site's public key, PEM; its private half was made at the site and never leaves it.
        versions: What runs at the site.
    """

    token: str = Field(min_length=1, max_length=200)
    public_key: str = Field(max_length=2000)
    versions: Versions


class Membership(Frozen):
    """What an enrolled site is told once.

    Attributes:
        site: The name under which it was invited.
        key: Its API key; the coordinator keeps only a digest of it.
        fleet: ``host:port`` where its SuperNode connects; an empty host means the coordinator's own.
        node_authentication: Whether SuperNodes prove who they are with the enrolled key, which needs TLS.
    """

    site: str = Field(pattern=SITE_NAME)
    key: str
    fleet: str
    node_authentication: bool


class Heartbeat(Frozen):
    """A sign of life.

    Attributes:
        versions: What runs at the site.
        free_disk_bytes: Where private state lies.
        gpus: Names of the GPUs that the agent may use.
        clock_s: The site's clock, in seconds since the epoch.
        cards_digest: Of the newest published cards; the coordinator asks for them when it has others.
        approved: Digests of the app bundles that may run there.
        runs: Runs whose client apps are at work.
    """

    versions: Versions
    free_disk_bytes: int = Field(ge=0, lt=2**63)
    gpus: tuple[Line, ...] = Field(default=(), max_length=MOST)
    clock_s: float
    cards_digest: Line = ""
    approved: tuple[Line, ...] = Field(default=(), max_length=MOST)
    runs: tuple[Line, ...] = Field(default=(), max_length=MOST)


class Proposal(Frozen):
    """A run that asks for the site.

    Attributes:
        run: The run's id.
        study: The study's name.
        spec: The whole spec.
        spec_digest: Its digest.
        app: The digest of the app bundle that would carry it out.
        packages: Packages beside Fedward's own of which the spec names parts, as they are at the coordinator.
        expires_s: When the run goes on without the site, in seconds since the epoch.
    """

    run: str
    study: str
    spec: dict[str, Any]
    spec_digest: str
    app: str
    packages: tuple[Package, ...] = ()
    expires_s: float


class Instructions(Frozen):
    """The coordinator's reply to a heartbeat. An instruction is a request: the site's policy decides.

    Attributes:
        interval_s: When to report again.
        proposals: Runs that ask for the site, until they are answered.
        ended: Of the heartbeat's runs, those that are over or paused: their client apps are to be ended.
        send_cards: Whether the coordinator wants the cards.
        active: Whether a run with the site is under way, so that its SuperNode should look often.
    """

    interval_s: float = Field(gt=0)
    proposals: tuple[Proposal, ...] = ()
    ended: tuple[str, ...] = ()
    send_cards: bool = False
    active: bool = False


class Cards(Frozen):
    """All datasets that a site offers, in counts."""

    cards: tuple[DatasetCard, ...] = Field(max_length=100)
    digest: Line


class Answer(Frozen):
    """A site's answer to a proposal.

    Attributes:
        run: The run's id.
        takes_part: Whether it does.
        reason: Why not, in words that may leave the site.
    """

    run: str
    takes_part: bool
    reason: str = Field(default="", pattern=LINE, max_length=REASON_CHARS)
