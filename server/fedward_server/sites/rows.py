"""The tables of sites, of invitations, and of sites' answers to runs. No token and no key is ever stored."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from fedward_server.database.base import Base


class InvitationRow(Base):
    """One invitation, known by the SHA-256 of its token."""

    __tablename__ = "invitations"

    digest: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str]
    created_s: Mapped[float]
    expires_s: Mapped[float]
    used_s: Mapped[float | None]


class SiteRow(Base):
    """One enrolled site, and what its newest heartbeat said.

    Attributes:
        public_key: PEM; the private half never leaves the site.
        node: Flower's id of its SuperNode, a number too great for most databases; empty without node authentication.
        last_seen_s: When it was heard of last; None before its first heartbeat.
        clock_offset_s: Its clock less ours, when it was heard of.
        approved: Digests of the app bundles that may run there.
        runs: Runs whose client apps are at work there.
        cards_digest: Of the cards; empty before the first were told.
        cards: Its datasets in counts.
    """

    __tablename__ = "sites"

    name: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[str]
    node: Mapped[str] = mapped_column(default="")
    enrolled_s: Mapped[float]
    fedward: Mapped[str]
    flower: Mapped[str]
    last_seen_s: Mapped[float | None]
    clock_offset_s: Mapped[float | None]
    free_disk_bytes: Mapped[int | None] = mapped_column(BigInteger)
    gpus: Mapped[list[str]] = mapped_column(JSON, default=list)
    approved: Mapped[list[str]] = mapped_column(JSON, default=list)
    runs: Mapped[list[str]] = mapped_column(JSON, default=list)
    cards_digest: Mapped[str] = mapped_column(default="")
    cards: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)


class AnswerRow(Base):
    """A site's answer to a run that asked for it."""

    __tablename__ = "answers"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    takes_part: Mapped[bool]
    reason: Mapped[str]
    answered_s: Mapped[float]
