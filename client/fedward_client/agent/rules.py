"""Whether a proposed run fits the site's policy: rules that read as policy, in one ordered list.

A reason says what the policy allows and what the run asks for. It leaves the site, so it names no path and no patient.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from fedward_client.agent.policy import SitePolicy
from fedward_core.cards import DataKind
from fedward_core.errors import SpecError
from fedward_core.fleet_messages import Proposal
from fedward_core.packages import packages_named
from fedward_core.spec import Spec, Stage

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # it becomes a folder's name
UNREADABLE = "the site's policy cannot be read, so it allows nothing: its steward has to mend it"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a site allows at a moment.

    Attributes:
        policy: Its policy.
        approved: Digests of the app bundles and of the packages that may run there.
    """

    policy: SitePolicy
    approved: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run asks for, beside what the site has.

    Attributes:
        proposal: The coordinator's words.
        spec: Its spec, checked.
        terms: What the site allows.
        free_disk_bytes: Where private state lies; infinite where the run is at work already.
    """

    proposal: Proposal
    spec: Spec
    terms: Terms
    free_disk_bytes: float


Rule = Callable[[Request], str]


def refusal(proposal: Proposal, terms: Terms, *, free_disk_bytes: float) -> str:
    """Why the site does not take part in a run; empty if it does.

    Packages come before everything else, since to read a spec is to import what it names.
    """
    try:
        if reason := _package_reason(proposal, terms):
            return reason
    except SpecError as error:
        return str(error)
    try:
        spec = Spec.parse(proposal.spec)
    except SpecError:
        return "this site's release of Fedward cannot read the run's spec: the versions differ"
    request = Request(proposal=proposal, spec=spec, terms=terms, free_disk_bytes=free_disk_bytes)
    return next((reason for rule in RULES if (reason := rule(request))), "")


def _package_reason(proposal: Proposal, terms: Terms) -> str:
    """Why code of other packages may not run; each was approved as it is installed, and is what the coordinator has."""
    here = packages_named(proposal.spec)
    if absent := {package.name for package in proposal.packages} - {package.name for package in here}:
        return f"the run needs the package {min(absent)}, of which nothing that the spec names is installed at the site"
    for package in here:
        if package.sha256 not in terms.approved:
            return f"the site's steward has not approved the package {package}"
        if package not in proposal.packages:
            return f"the coordinator has another package {package.name} than the site, or none: install the same file"
    return ""


def _run_has_a_plain_name(request: Request) -> str:
    return "" if RUN_NAME.fullmatch(request.proposal.run) else "the run's id cannot name a folder"


def _spec_has_its_digest(request: Request) -> str:
    if request.spec.digest() == request.proposal.spec_digest:
        return ""
    return "the run's spec does not have the digest that stands beside it"


def _app_is_approved(request: Request) -> str:
    if request.proposal.app in request.terms.approved:
        return ""
    return f"the site's steward has not approved the app {request.proposal.app[:16]}"


def _study_is_allowed(request: Request) -> str:
    allowed = request.terms.policy.studies
    if allowed == "all" or request.proposal.study in allowed:
        return ""
    return f"the site does not take part in study {request.proposal.study!r}"


def _dataset_is_offered(request: Request) -> str:
    name = request.spec.dataset.name
    return "" if name in request.terms.policy.datasets else f"the site offers no dataset {name!r}"


def _public_dataset_is_public_here(request: Request) -> str:
    public, policy = request.spec.evaluate.public, request.terms.policy
    if public is None or (public.name in policy.public and public.name in policy.datasets):
        return ""
    return f"the site does not send predictions on dataset {public.name!r}: its policy offers no such public dataset"


def _datasets_are_read_as_offered(request: Request) -> str:
    """A run that names another kind would read reports of what was offered as images.

    One that names another task would have other labels counted on its card, even if no method of it reads any.
    """
    wanted, public = request.spec.dataset, request.spec.evaluate.public
    names = (wanted.name,) if public is None else (wanted.name, public.name)
    for name in names:
        offer = request.terms.policy.datasets[name]
        # Of images with reports, a run may read the images alone.
        fewer = offer.kind is DataKind.REPORT and wanted.kind is DataKind.IMAGE
        if offer.kind is not wanted.kind and not fewer:
            return (
                f"the site offers dataset {name!r} as kind '{offer.kind}', and the run would read it as kind "
                f"'{wanted.kind}'"
            )
        if offer.task is not wanted.task and not request.terms.policy.labels:
            return (
                f"the site does not let runs read labels, and offers dataset {name!r} with task '{offer.task}': the "
                f"run's is '{wanted.task}'"
            )
    return ""


def _methods_are_allowed(request: Request) -> str:
    allowed = request.terms.policy.methods
    wanted = [stage.method.name for stage in request.spec.stages]
    foreign = sorted({name for name in wanted if allowed != "all" and name not in allowed})
    return f"the site does not allow the method {', '.join(foreign)}" if foreign else ""


def _labels_may_be_read(request: Request) -> str:
    if request.terms.policy.labels or not any(stage.method.needs_labels for stage in request.spec.stages):
        return ""
    return "the site does not let runs read labels, and a stage of this run does"


def _rounds_are_within_bounds(request: Request) -> str:
    rounds, most = sum(stage.rounds for stage in request.spec.stages), request.terms.policy.max_rounds
    return f"the site allows {most} rounds, and the run asks for {rounds}" if rounds > most else ""


def _epochs_are_within_bounds(request: Request) -> str:
    epochs, most = max(map(_epochs, request.spec.stages)), request.terms.policy.max_epochs
    return f"the site allows {most} epochs a round, and the run asks for {epochs}" if epochs > most else ""


def _epochs(stage: Stage) -> int:
    """The most passes over the data in one round: a personalisation's own, such as ``head_epochs``, come on top."""
    own = sum(int(value) for name, value in stage.personalise or () if name.endswith("epochs"))
    return stage.method.passes * (stage.local.epochs + own)


def _enough_sites_are_averaged(request: Request) -> str:
    sites, least = request.spec.cohort.min_sites, request.terms.policy.min_sites
    if sites >= least:
        return ""
    return f"the site is averaged with others only where min_sites is at least {least}, and the run's is {sites}"


def _gpu_may_be_used(request: Request) -> str:
    wanted = any(stage.local.device.startswith("cuda") for stage in request.spec.stages)
    return "the run demands a GPU, and the site gives none" if wanted and request.terms.policy.gpus == () else ""


def _disk_has_room(request: Request) -> str:
    if request.free_disk_bytes >= request.terms.policy.min_free_disk_gb * 1e9:
        return ""
    return "the site has too little free disk for another run"


RULES: tuple[Rule, ...] = (
    _run_has_a_plain_name,
    _spec_has_its_digest,
    _app_is_approved,
    _study_is_allowed,
    _dataset_is_offered,
    _public_dataset_is_public_here,
    _datasets_are_read_as_offered,
    _methods_are_allowed,
    _labels_may_be_read,
    _rounds_are_within_bounds,
    _epochs_are_within_bounds,
    _enough_sites_are_averaged,
    _gpu_may_be_used,
    _disk_has_room,
)
