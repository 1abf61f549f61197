"""The tables of runs and of what happened in them. The rows of runs are the queue."""

from typing import Any

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from fedward_server.database.base import Base


class RunRow(Base):
    """One run.

    Attributes:
        idempotency_key: The key with which it was submitted, if any.
        sites: The sites that were asked for.
        cohort: Those that take part; None until they are known.
        app: The digest of the app bundle that enrolled sites are asked to run; empty where sites are simulated.
        recruits_until_s: When the run goes on without sites that have not answered.
        attempt: The newest attempt; 0 before the first.
        crashes: Attempts that died since the last finished round.
        handle: How the attempt's process is found again.
        num_events: Events so far; the newest event has this sequence number.
        bytes_read: How far the events of the run's folder have been read.
        moved_s: When the state moved last, in seconds since the epoch.
        due_s: When the scheduler looks at it again.
        lease_token: Of the scheduler that works on it; None if nobody does.
        lease_expires_s: From then on, another may take it.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey("studies.name"))
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    spec_digest: Mapped[str]
    sites: Mapped[list[str]] = mapped_column(JSON)
    cohort: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    app: Mapped[str] = mapped_column(default="")
    recruits_until_s: Mapped[float] = mapped_column(default=0.0)
    engine: Mapped[str]
    workers: Mapped[int]
    state: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(default="")
    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    handle: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    num_events: Mapped[int] = mapped_column(default=0)
    bytes_read: Mapped[int] = mapped_column(default=0)
    created_s: Mapped[float]
    moved_s: Mapped[float]
    due_s: Mapped[float] = mapped_column(default=0.0)
    lease_token: Mapped[str | None]
    lease_expires_s: Mapped[float] = mapped_column(default=0.0)


class EventRow(Base):
    """One thing that happened in a run; its sequence number counts from 1."""

    __tablename__ = "events"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[dict[str, Any]] = mapped_column(JSON)
