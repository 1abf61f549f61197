"""The personal models of a simulated run, side by side, for evaluation.

A deployed run leaves every private part at its hospital. There is nothing here that could ask for one: this reads the
folders that simulated sites keep on this machine.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedward_client.private_store import FilePrivateStore
from fedward_core.arrays import Arrays
from fedward_core.cards import Split, agreed_contract, read_cards
from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_core.order import Order, Work
from fedward_core.plan import StagePlan
from fedward_core.run_folder import RECORD, SPEC, final_weights, stage_folder
from fedward_core.spec import Spec
from fedward_models.programs.program import Site, open_program
from fedward_server.rounds.stage_state import StageState, newest_state, read_final

if TYPE_CHECKING:
    from fedward_models.personalisation.ensemble import Ensemble


@dataclass(frozen=True, kw_only=True)
class SimulatedRun:
    """The folder of a run in which every site was simulated, and so has its data on this machine.

    Attributes:
        out: The run's folder.
        data: The folder with the datasets of all sites.
    """

    out: Path
    data: Path

    def __post_init__(self) -> None:
        if elsewhere := set(self._sites()) - set(_sites_here(self.data)):
            raise SpecError(
                f"this run was not simulated: the private models of {', '.join(sorted(elsewhere))} are at their sites "
                "and stay there. An ensemble of personal models needs a simulation; evaluate a deployed run at its "
                "sites"
            )

    def ensemble(self, stage: str, *, mean: Literal["arithmetic", "geometric"] = "arithmetic") -> "Ensemble":
        """The models of all sites that have trained, as the newest checkpoint of a stage leaves them.

        Args:
            stage: The stage's name.
            mean: How they are averaged.

        Raises:
            CheckpointError: The stage has no checkpoint, or no site has trained in it.
            PrivateStateError: A site's private state is gone.
        """
        from fedward_models.data import open_split  # torch, which other commands do without
        from fedward_models.personalisation.ensemble import Ensemble, Member
        from fedward_models.programs.torch_program import TorchProgram

        spec = Spec.read(self.out / SPEC)
        index = [each.name for each in spec.stages].index(stage)
        program = open_program(spec, index)
        assert isinstance(program, TorchProgram)
        state, members = newest_state(stage_folder(self.out, stage)), []
        plan = self._plan(spec, index)
        if not state.bases:
            raise CheckpointError(f"no site has trained in stage '{stage}' yet: there is no model to put beside others")
        for name in (site for site in self._sites() if site in state.bases):
            order, incoming = _errand(name, state, spec, index, plan)
            store = FilePrivateStore(self.out / "sites" / name / stage, durable=False)
            method = program.personal(order, incoming, Site(name=name, data=self.data, store=store))
            images = open_split(self.data, name, spec.dataset, Split.TRAIN)
            members.append(Member.of(method, mean=images.mean, std=images.std))
        return Ensemble(method, members, mean=mean)

    def _sites(self) -> tuple[str, ...]:
        return tuple(json.loads((self.out / RECORD).read_text(encoding="utf-8"))["sites"])

    def _plan(self, spec: Spec, index: int) -> StagePlan:
        contract = agreed_contract(read_cards(self.out))
        previous = None
        if spec.stages[index].start_from == "previous":
            previous = read_final(final_weights(self.out, spec.stages[index - 1].name))[1]
        return open_program(spec, index).plan(contract, previous)[0]


def _sites_here(data: Path) -> tuple[str, ...]:
    from fedward_models.data import sites_in

    try:
        return sites_in(data)
    except DataError:  # no data at all
        return ()


def _errand(site: str, state: StageState, spec: Spec, index: int, plan: StagePlan) -> tuple[Order, Arrays]:
    """The order to evaluate, as the round loop would send it, with what travels."""
    base = state.bases[site]
    order = Order(run=spec.name, work=Work.EVALUATE, stage=index, round=max(state.round - 1, 0), base=base, plan=plan)
    return order, plan.partition(spec.stages[index].share_at(base.round)).split(state.weights)[0]
