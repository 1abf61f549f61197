"""Answers orders: the whole of what a site does in a federation, whoever delivers it.

A failure becomes a coded reply. The text of an exception stays in the site's own log: it may quote a path or a patient.
"""

import logging
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fedward_client.private_store import FilePrivateStore
from fedward_core.arrays import Arrays
from fedward_core.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    PrivateStateError,
    SpecError,
    UntrainedError,
    UpdateError,
)
from fedward_core.order import PUBLIC, Failure, Order, Reply, Work
from fedward_core.plan import WEIGHTS, StagePlan
from fedward_core.spec import Spec, Stage
from fedward_models.programs.program import PREDICTIONS, Program, Site, open_program

Groups = Mapping[str, Arrays]

LOG = "site.log"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """What a site's node knows.

    Attributes:
        site: The site's name.
        spec: The run's spec.
        data: The folder with the site's datasets.
        private: The folder with the site's private state of this run.
        public: The folder with the spec's public dataset, where the site has consented to send predictions on it.
        durable: Whether private state must survive a loss of power; simulated sites do without.
    """

    site: str
    spec: Spec
    data: Path
    private: Path
    public: Path | None = None
    durable: bool = True


def answer(order: Order, incoming: Arrays, settings: SiteSettings) -> tuple[Reply, Groups]:
    """Do what an order asks.

    Args:
        order: The order.
        incoming: The weights that came with it.
        settings: The site.

    Returns:
        The facts of the answer, and groups of arrays. The arrays may share memory with the model: encode them before
        the next call.
    """
    try:
        return _do(order, incoming, settings)
    except Exception as error:  # noqa: BLE001 - a site's failure is data, whatever it was
        _note(order, settings, error)
        return Reply(**_heading(order, settings), failure=_code(error)), {}


def _do(order: Order, incoming: Arrays, settings: SiteSettings) -> tuple[Reply, Groups]:
    _check_consent(settings)
    program = _program(settings.spec, order.stage, settings.data)
    stage = settings.spec.stages[order.stage].name
    folder = settings.private / stage
    store = FilePrivateStore(folder, durable=settings.durable)
    site = Site(
        name=settings.site,
        data=settings.data,
        store=store,
        predictions=folder / PREDICTIONS,
        public=settings.public,
    )
    heading = _heading(order, settings)
    if order.work is Work.DESCRIBE:
        return Reply(**heading, card=program.describe(site)), {}
    if order.work is Work.PLAN:
        plan, weights = _plan(program, order, incoming, settings.spec)
        return Reply(**heading, plan=plan), {WEIGHTS: weights}
    if order.work is Work.EVALUATE:
        reply = Reply(**heading, evaluation=program.evaluate(order, incoming, site))
        return reply, _on_public(program, order, incoming, site, settings.spec)
    _check_round(order, settings.spec.stages[order.stage], store)
    update = program.train(order, incoming, site)
    counts = {"num_examples": update.num_examples, "num_steps": update.num_steps}
    return Reply(**heading, **counts, metrics=dict(update.metrics)), update.groups


def _check_consent(settings: SiteSettings) -> None:
    public = settings.spec.evaluate.public
    if public is not None and settings.public is None:
        raise SpecError(
            f"the spec wants predictions on the public dataset '{public.name}', to which this site has not consented: "
            "name it under 'public' in site.yaml, or leave evaluate.public out. Simulated sites consent to nothing: "
            "the private models of a simulation are put side by side without it"
        )


def _check_round(order: Order, stage: Stage, store: FilePrivateStore) -> None:
    """The round that an order tells says what is sent, so no order may tell one before those that the site has seen.

    What is private only grows from round to round: what the site has kept to itself once it sends never again.
    """
    if order.round >= stage.rounds:
        raise SpecError(f"the order is for round {order.round + 1}, and stage '{stage.name}' has {stage.rounds}")
    last = store.last_round
    if last is not None and stage.share_at(order.round) < stage.share_at(last):
        raise SpecError(
            f"round {order.round + 1} of stage '{stage.name}' would send what this site has kept private in round "
            f"{last + 1}: nothing is sent. If the coordinator has lost rounds, run the spec under another id"
        )


def _on_public(program: Program, order: Order, incoming: Arrays, site: Site, spec: Spec) -> Groups:
    """Predictions on the spec's public dataset, after a stage's last round."""
    stage = spec.stages[order.stage]
    if spec.evaluate.public is None or order.round < stage.rounds - 1 or not stage.method.needs_labels:
        return {}
    return {PUBLIC: program.predict_public(order, incoming, site)}


def _plan(program: Program, order: Order, incoming: Arrays, spec: Spec) -> tuple[StagePlan, Arrays]:
    assert order.contract is not None
    previous = incoming if spec.stages[order.stage].start_from == "previous" else None
    return program.plan(order.contract, previous)


def _note(order: Order, settings: SiteSettings, error: Exception) -> None:
    """Tell the site's own people, on its own disk and console, what leaves the site as a code only."""
    in_rounds = order.work in (Work.TRAIN, Work.EVALUATE)
    place = f"{order.work} of round {order.round + 1}" if in_rounds else str(order.work)  # people count from 1
    log.warning("site %s, %s: %s", settings.site, place, str(error) or type(error).__name__)
    lines = "".join(traceback.format_exception(error))
    with suppress(OSError):  # a full disk may be the very failure
        settings.private.mkdir(parents=True, exist_ok=True)
        with (settings.private / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {place}\n{lines}\n")


def _heading(order: Order, settings: SiteSettings) -> dict[str, object]:
    return {"site": settings.site, "work": order.work, "round": order.round, "parent": order.parent}


def _code(error: Exception) -> Failure:
    codes: tuple[tuple[type[Exception], Failure], ...] = (
        (DataError, Failure.DATA),
        (SpecError, Failure.SPEC),
        (UpdateError, Failure.UPDATE),
        (DivergedError, Failure.DIVERGED),
        (PrivateStateError, Failure.PRIVATE_STATE),
        (UntrainedError, Failure.UNTRAINED),
        (CheckpointError, Failure.DISK),
        (MemoryError, Failure.MEMORY),
    )
    return next((code for kind, code in codes if isinstance(error, kind)), Failure.INTERNAL)


@lru_cache(maxsize=2)
def _program(spec: Spec, stage: int, data: Path) -> Program:  # noqa: ARG001 - part of the key
    """Programs are kept between rounds: building a network anew for each would cost more than a small round.

    Other data under the same spec may be of other classes, for which the network is another one.
    """
    return open_program(spec, stage)
