"""The heart: one round at one site.

incoming (shared) + private entry --merge--> model --fit--> model --split--> update (shared) + new private entry
"""

from dataclasses import dataclass

import torch

from fedward_core.arrays import Array, Arrays, under
from fedward_core.order import Order
from fedward_core.partition import Partition
from fedward_core.private_state import PrivateEntry, PrivateStore
from fedward_core.seeds import derive_seed
from fedward_core.spec import Stage
from fedward_core.update import SHARED, Update
from fedward_models.method import Method
from fedward_models.training.batches import Batches
from fedward_models.training.fit import fit
from fedward_models.training.optimizer_state import OptimizerState
from fedward_models.training.phase import Phase
from fedward_models.weights import arrays_of, load_arrays

WEIGHTS, MOMENTS = "weights/", "moments/"


@dataclass(frozen=True, kw_only=True)
class RoundWork:
    """What a round needs besides weights.

    Attributes:
        stage: The stage of the spec.
        order: What the server asked.
        site: The site.
        seed: Derived from run, stage, site and round.
        partition: What is shared and private after this round.
        phases: How to train.
        device: Where.
    """

    stage: Stage
    order: Order
    site: str
    seed: int
    partition: Partition
    phases: tuple[Phase, ...]
    device: torch.device


def train_round(method: Method, incoming: Arrays, store: PrivateStore, loader: Batches, work: RoundWork) -> Update:
    """Train one round and keep at the site what is private.

    Args:
        method: The stage's method; its state is overwritten.
        incoming: What came with the order.
        store: Where the private state is read and written.
        loader: The site's training images.
        work: Everything else.

    Returns:
        The encoded update; it holds shared entries only. Its arrays may share memory with the method.

    Raises:
        FedwardError: The weights do not fit, private state is missing, or training diverged.
    """
    entry = starting_entry(work.order, work.stage, work.partition, store)
    start = starting_state(work.order, work.stage, work.partition, incoming, entry)
    load_arrays(method, start)
    if work.order.joins_late:
        method.join()
    report = fit(
        method,
        loader,
        work.phases,
        round_=work.order.round,
        rounds=work.stage.rounds,
        seed=work.seed,
        state=_moments(entry) if work.stage.local.optimizer_state == "keep" else None,
        device=work.device,
    )
    shared, private = work.partition.split(arrays_of(method))
    _keep(store, work, private, report.state)
    update = Update(
        site=work.site,
        round=work.order.round,
        parent=work.order.parent,
        num_examples=loader.num_examples,
        num_steps=report.num_steps,
        groups={SHARED: shared},
        metrics=report.figures,
    )
    reference = work.partition.split(start)[0]
    for config in work.stage.filters:
        update = config.build().encode(update, reference, seed=derive_seed(work.seed, "filter", config.name))
    return update


def starting_entry(order: Order, stage: Stage, partition: Partition, store: PrivateStore) -> PrivateEntry | None:
    """The private entry that an order builds on; None where the site joins, or keeps nothing between rounds.

    Raises:
        PrivateStateError: The site should have it and has not.
    """
    if order.base is None or not _keeps_anything(stage, partition.at(stage.share_at(order.base.round))):
        return None
    return store.read(order.base.round, order.base.parent)


def starting_state(
    order: Order, stage: Stage, partition: Partition, incoming: Arrays, entry: PrivateEntry | None
) -> dict[str, Array]:
    """The whole state that a round or an evaluation starts from.

    What came is what travelled at the site's last round, even if less travels now: a channel that turns private starts
    from the value just downloaded.

    Raises:
        UpdateError: The weights that came are not those that this site needs.
    """
    if order.base is None:
        return partition.whole(incoming)
    private = under(WEIGHTS, entry.arrays) if entry else {}
    return partition.at(stage.share_at(order.base.round)).merge(incoming, private)


def _keeps_anything(stage: Stage, partition: Partition) -> bool:
    return stage.local.optimizer_state == "keep" or partition.has_private


def _moments(entry: PrivateEntry | None) -> OptimizerState | None:
    if entry is None:
        return None
    return OptimizerState(arrays=under(MOMENTS, entry.arrays), facts=entry.facts)


def _keep(store: PrivateStore, work: RoundWork, private: Arrays, state: OptimizerState) -> None:
    keep_moments = work.stage.local.optimizer_state == "keep"
    if not _keeps_anything(work.stage, work.partition):
        return
    moments = {MOMENTS + name: array for name, array in state.arrays.items()} if keep_moments else {}
    weights = {WEIGHTS + name: array for name, array in private.items()}
    store.write(
        PrivateEntry(
            round=work.order.round,
            parent=work.order.parent,
            arrays={**weights, **moments},
            facts=state.facts if keep_moments else {},
            base=(base.round, base.parent) if (base := work.order.base) else None,
        )
    )
