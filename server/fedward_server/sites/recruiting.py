"""Which sites take part in a run: a function of what is known of them, without a database or a clock of its own."""

from dataclasses import dataclass
from typing import Literal

from fedward_core.fleet_messages import Versions
from fedward_core.spec import Cohort, Spec
from fedward_server.sites.rows import AnswerRow, SiteRow
from fedward_server.sites.service import OFFLINE_S
from fedward_server.sites.versions import version_fault


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of a site that a run asks for.

    Attributes:
        site: Its name.
        versions: What runs there; None if it is not enrolled.
        last_seen_s: When it was heard of last; None if it never was.
        datasets: Names of its datasets; None before it told.
        takes_part: Its answer; None before it answered.
        reason: Why it does not take part, in its own words.
    """

    site: str
    versions: Versions | None
    last_seen_s: float | None = None
    datasets: tuple[str, ...] | None = None
    takes_part: bool | None = None
    reason: str = ""

    @classmethod
    def of(cls, site: str, row: SiteRow | None, answer: AnswerRow | None) -> "Candidate":
        """What the tables hold of a site."""
        if row is None:
            return cls(site=site, versions=None)
        return cls(
            site=site,
            versions=Versions(fedward=row.fedward, flower=row.flower),
            last_seen_s=row.last_seen_s,
            datasets=tuple(card["dataset"] for card in row.cards) if row.cards_digest else None,
            takes_part=None if answer is None else answer.takes_part,
            reason="" if answer is None else answer.reason,
        )


@dataclass(frozen=True, kw_only=True)
class Recruitment:
    """Who takes part.

    Attributes:
        taking_part: Sites that do.
        left_out: Sites that do not, each with the reason.
        waiting: Sites of which nobody knows yet.
    """

    taking_part: tuple[str, ...]
    left_out: dict[str, str]
    waiting: tuple[str, ...]

    def can_serve(self, cohort: Cohort) -> bool:
        """Whether enough sites train, or still may."""
        return len(cohort.training((*self.taking_part, *self.waiting))) >= cohort.min_sites

    def failure(self, cohort: Cohort) -> str:
        """Why there are too few."""
        training = len(cohort.training((*self.taking_part, *self.waiting)))
        reasons = "; ".join(f"{site}: {reason}" for site, reason in self.left_out.items())
        return (
            f"the run needs {cohort.min_sites} sites that train, and at most {training} would. Left out are {reasons}"
        )


@dataclass(frozen=True, kw_only=True)
class Period:
    """The time in which sites are asked.

    Attributes:
        since_s: From when on silence of a site tells something: the coordinator asked, and was not away itself.
        until_s: When it ends.
        now_s: Where it stands.
    """

    since_s: float
    until_s: float
    now_s: float

    @property
    def is_over(self) -> bool:
        """Whether nobody is waited for any more."""
        return self.now_s >= self.until_s


def recruit(candidates: tuple[Candidate, ...], dataset: str | None, period: Period) -> Recruitment:
    """Sort sites into those that take part, those that do not, and those that may still answer.

    Args:
        candidates: What is known of each.
        dataset: The dataset that it must have; None where no images are read.
        period: The time in which they are asked.
    """
    verdicts = {candidate.site: _verdict(candidate, dataset, period) for candidate in candidates}
    return Recruitment(
        taking_part=tuple(site for site, verdict in verdicts.items() if verdict is True),
        left_out={site: verdict for site, verdict in verdicts.items() if isinstance(verdict, str)},
        waiting=tuple(site for site, verdict in verdicts.items() if verdict is None),
    )


def dataset_needed(spec: Spec) -> str | None:
    """The dataset that a site must have; None for a run that reads no images."""
    return spec.dataset.name if any(stage.method.runtime == "torch" for stage in spec.stages) else None


def _verdict(candidate: Candidate, dataset: str | None, period: Period) -> Literal[True] | str | None:
    """True if the site takes part, the reason if it does not, None if nobody knows yet."""
    fault = _fault(candidate, dataset) or _absence(candidate, period)
    if fault is not None:
        return fault
    knows_data = dataset is None or candidate.datasets is not None
    if candidate.takes_part and knows_data:
        return True
    if not period.is_over:
        return None
    return "it did not answer in time" if knows_data else "it has not told which datasets it has"


def _fault(candidate: Candidate, dataset: str | None) -> str | None:
    if candidate.versions is None:
        return "it is not enrolled any more"
    if candidate.takes_part is False:
        return candidate.reason or "it said no, and gave no reason"
    if dataset is not None and candidate.datasets is not None and dataset not in candidate.datasets:
        return f"it has no dataset '{dataset}'"
    return version_fault(candidate.versions)


def _absence(candidate: Candidate, period: Period) -> str | None:
    if period.now_s - max(candidate.last_seen_s or 0.0, period.since_s) <= OFFLINE_S:
        return None
    if candidate.last_seen_s is None:
        return "it is offline: it enrolled, and was never heard of since"
    return f"it is offline: it was last heard of {period.now_s - candidate.last_seen_s:.0f} s ago"
