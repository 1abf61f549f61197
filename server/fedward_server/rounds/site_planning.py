"""Sites plan a stage: they build its model, and send its plan and first weights.

    coordinator  --(contract, weights of the stage before)-->  two sites, each of which builds the network
                 <--(plan, first weights)--------------------  compared, checked and kept

The first weights follow from the run's seed and those of the stage before, so that any site can make them, and a second
one tells whether the first was honest. A site that cannot is replaced by the next. So the coordinator needs no torch.

Both sites send the weights and not their digest alone, because honest ones may differ in it: the normal draws of torch
round differently on processors with and without AVX2, by up to 2e-6 of a layer's spread for a ResNet-18.
"""

from itertools import islice

import numpy as np

from fedward_core.arrays import Arrays, digest
from fedward_core.cards import Contract
from fedward_core.errors import QuorumError, RoundError, UpdateError
from fedward_core.manifest import Kind
from fedward_core.order import Failure, Order, Work
from fedward_core.plan import WEIGHTS
from fedward_core.update import check_form
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.planning import Planned, PlanRequest

WITNESSES = 2
# Decided here: far above the rounding of processors, far below what a network could notice.
RELATIVE, ABSOLUTE = 1e-4, 1e-6


def plan_at_sites(request: PlanRequest) -> Planned:
    """Let two sites plan a stage, and take what both give; one is enough where ``cohort.min_sites`` is 1.

    Raises:
        QuorumError: Too few sites gave a plan that can be used.
        RoundError: Two sites gave different ones.
        SpecError: The plan's rules do not fit its model.
    """
    proposals = _Proposals(request)
    proposals.gather()
    return proposals.agreed()


class _Proposals:
    """What sites give, and why others do not.

    Args:
        request: What they are asked for.
    """

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._given: dict[str, Planned] = {}
        self._faults: dict[str, str] = {}

    def gather(self) -> None:
        """Ask sites in the order of their names, until enough have given something or all were asked."""
        sites = iter(self._request.job.sites)
        while asked := tuple(islice(sites, WITNESSES - len(self._given))):
            self._ask(asked)

    def agreed(self) -> Planned:
        """What the sites agree on."""
        self._check_quorum()
        first, *others = sorted(self._given)
        for other in others:
            self._compare(first, other)
        planned = self._given[first]
        # A site's patterns are tried only now, when a second one has vouched for them.
        planned.plan.partition(self._request.stage.share_at(0))
        return Planned(plan=planned.plan, weights=planned.weights, sites=(first, *others))

    def _ask(self, sites: tuple[str, ...]) -> None:
        request = self._request
        order = Order(
            run=request.job.run,
            attempt=request.attempt,
            work=Work.PLAN,
            stage=request.index,
            contract=request.contract,
        )
        request.exchange.send(dict.fromkeys(sites, Errand(order=order, arrays=request.previous or {})))
        deadline_s = request.job.spec.cohort.round_deadline_s
        for answer in request.exchange.receive(deadline_s):
            self._take(answer)
        for site in set(sites) - self._given.keys() - self._faults.keys():
            self._leave_out(site, f"no answer within {deadline_s:g} s")

    def _take(self, answer: Answer) -> None:
        try:
            self._given[answer.site] = _proposal(answer, self._request.contract)
        except UpdateError as error:
            self._leave_out(answer.site, str(error))

    def _leave_out(self, site: str, reason: str) -> None:
        self._faults[site] = reason
        self._request.warn(f"could not plan the stage: {reason}", site)

    def _check_quorum(self) -> None:
        stage, sites = self._request.stage.name, self._request.job.sites
        needed = min(WITNESSES, self._request.job.spec.cohort.min_sites)
        if len(self._given) < needed:
            faults = "; ".join(f"{site}: {fault}" for site, fault in sorted(self._faults.items()))
            raise QuorumError(
                f"the model of stage '{stage}' was built by {len(self._given)} sites, expected {needed} that agree "
                f"({faults}). Mend it and run again; 'fedward simulate' with this spec tells whether the spec is why"
            )
        if len(self._given) < min(WITNESSES, len(sites)):
            self._request.warn(f"only {next(iter(self._given))} has planned the stage: no other site vouches for it")

    def _compare(self, first: str, other: str) -> None:
        ours, theirs = self._given[first], self._given[other]
        if ours.plan != theirs.plan:
            raise self._disagreement("plan", {first: ours.plan.digest(), other: theirs.plan.digest()})
        digests = {first: digest(ours.weights), other: digest(theirs.weights)}
        if digests[first] == digests[other]:
            return
        if not _alike(ours.weights, theirs.weights):
            raise self._disagreement("first weights", digests)
        self._request.warn(f"the processors of {first} and {other} round differently: the weights of {first} are taken")

    def _disagreement(self, what: str, digests: dict[str, str]) -> RoundError:
        found = ", ".join(f"{value[:12]} at '{site}'" for site, value in digests.items())
        return RoundError(
            f"two sites disagree about the {what} of stage '{self._request.stage.name}': expected one digest, found "
            f"{found}. Bring both to one release of Fedward, torch and timm; if they are, one is not to be trusted: "
            "leave it out with cohort.sites"
        )


def _proposal(answer: Answer, contract: Contract) -> Planned:
    """What a site gives, as far as it can be checked without another's.

    Raises:
        UpdateError: There is none, or its weights do not fit the plan, or its plan the study.
    """
    reply = answer.reply
    if reply is None:
        raise UpdateError(answer.fault)
    if reply.failure is not None:
        raise UpdateError(_FAILURES.get(reply.failure, f"{reply.failure} error; its own log says which"))
    if reply.plan is None or WEIGHTS not in answer.groups:
        raise UpdateError("its answer has no plan or no weights")
    if reply.plan.contract != contract:
        raise UpdateError("its plan is for other data than the study's")
    weights = dict(answer.groups[WEIGHTS])
    try:
        check_form(weights, reply.plan.manifest)
    except (TypeError, ValueError, SyntaxError):  # numpy takes the word for a small language, and reads it
        raise UpdateError("its plan names types that numpy does not know") from None
    if not all(np.isfinite(weights[name]).all() for name in reply.plan.manifest.names(Kind.PARAMETER)):
        raise UpdateError("its first weights are not finite")
    return Planned(plan=reply.plan, weights=weights)


def _alike(ours: Arrays, theirs: Arrays) -> bool:
    """Whether weights of one form differ by no more than rounding."""
    return all(np.allclose(ours[name], theirs[name], rtol=RELATIVE, atol=ABSOLUTE) for name in ours)


_FAILURES = {
    Failure.SPEC: "the spec's parts do not fit each other, or its machine; its own log says why",
    Failure.MEMORY: "it ran out of memory",
}
