"""Runs as they are spoken of."""

from typing import Any

from pydantic import Field

from fedward_core.config import Frozen
from fedward_core.metric import Metric
from fedward_core.spec import NAME
from fedward_server.runs.states import RunState


class CreateRunRequest(Frozen):
    """A run to be submitted.

    Attributes:
        study: The study whose sites take part.
        spec: The spec: what its YAML file says, as JSON.
        run: An id of the submitter's own; left out, one is made from the spec's name.
        engine: What carries the run out; left out, ``deployment`` for enrolled sites, else ``inline``.
        workers: Simulated sites that train side by side. Results do not depend on it.
    """

    study: str
    spec: dict[str, Any]
    run: str | None = Field(default=None, pattern=NAME)
    engine: str | None = None
    workers: int = Field(default=1, ge=1, le=256)


class Run(Frozen):
    """A run, as everybody may see it.

    Attributes:
        id: Its id; it stays when the run is taken up again.
        study: The study.
        name: The spec's name.
        spec_digest: The digest of the whole spec.
        sites: The sites that were asked for.
        cohort: Those that take part; None until they are known.
        engine: What carries it out.
        workers: Sites that train side by side.
        state: Where it stands.
        reason: Why it stands there; empty where nothing needs saying.
        attempt: Counts the starts of the run; 0 before the first.
        num_events: Events so far.
        created_s: When it was submitted, in seconds since the epoch.
        moved_s: When its state moved last.
    """

    id: str
    study: str
    name: str
    spec_digest: str
    sites: tuple[str, ...]
    cohort: tuple[str, ...] | None
    engine: str
    workers: int
    state: RunState
    reason: str
    attempt: int
    num_events: int
    created_s: float
    moved_s: float


class RunWithSpec(Run):
    """A run with its whole spec."""

    spec: dict[str, Any]


class RunEvent(Frozen):
    """One thing that happened in a run.

    Attributes:
        sequence: Counts from 1, without gaps.
        kind: What happened: a kind of the run's own events, or ``run_moved`` for its state.
        time_s: Seconds since the epoch.
        stage: The stage's name, where there is one.
        round: The round, counted from 0, where there is one.
        site: The site, where there is one.
        facts: Figures and sentences.
    """

    sequence: int
    kind: str
    time_s: float
    stage: str | None = None
    round: int | None = None
    site: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class SiteLoss(Frozen):
    """The mean training loss of a site in a round, counted from 0."""

    stage: str
    round: int
    site: str
    loss: float


class Evaluation(Frozen):
    """The figures of a site after a round, counted from 0."""

    stage: str
    round: int
    site: str
    metrics: dict[str, Metric]


class RunMetrics(Frozen):
    """What a run has measured so far, in order. Of a round that was repeated, the last counts."""

    losses: tuple[SiteLoss, ...]
    evaluations: tuple[Evaluation, ...]
