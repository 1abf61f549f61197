"""A run from its first order to its last: preflight, stages, and the run's own record.

<out>/run.json, spec.yaml, cards.json, events.jsonl, stages/<stage>/..., .lock (held while a process is at work)
"""

import json
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fedward_core.atomic import replacing
from fedward_core.cards import Contract, DatasetCard, agreed_contract, differences
from fedward_core.claim import at_work
from fedward_core.engine import Job
from fedward_core.errors import CheckpointError, DataError, FedwardError
from fedward_core.events import EventKind, Listener
from fedward_core.plan import StagePlan
from fedward_core.run_folder import EVENTS, RECORD, SPEC, final_weights, stage_folder
from fedward_server.rounds.exchange import Exchange
from fedward_server.rounds.planning import Planner, PlanRequest
from fedward_server.rounds.preflight import Preflight
from fedward_server.rounds.recorder import Recorder
from fedward_server.rounds.reuse import StageShelf
from fedward_server.rounds.stage_context import StageContext
from fedward_server.rounds.stage_run import StageRun
from fedward_server.rounds.stage_state import StageFolder, keep_plan, kept_plan, read_final


class Run:
    """Carries a job out over an exchange, from where it stands.

    Args:
        job: What is run.
        exchange: Delivery to the job's sites.
        planner: Gives a stage's plan and first weights; asked once, and not again when the run is taken up.
        listen: Called with every event.
    """

    def __init__(self, job: Job, exchange: Exchange, planner: Planner, listen: Listener) -> None:
        self._job = job
        self._exchange = exchange
        self._planner = planner
        self._recorder = Recorder(job.out / EVENTS, listen)
        self._shelf = StageShelf(job)
        self._attempt = 1

    def run(self) -> None:
        """Run to the end.

        Raises:
            CheckpointError: Another process is at work in the output folder.
            FedwardError: The run failed; the reason is on record, and running again goes on from the last round.
        """
        with at_work(self._job.out):
            self._run()

    def _run(self) -> None:
        started = time.monotonic()
        self._open()
        try:
            self._run_stages()
        except FedwardError as error:
            with suppress(CheckpointError):  # a full disk may be the very failure, and must not hide it
                self._note("failed", str(error))
                self._recorder.tell(EventKind.RUN_FAILED, reason=str(error))
            raise
        except BaseException:
            with suppress(CheckpointError):
                self._note("interrupted", "stopped from outside; run again to go on")
            raise
        self._note("completed", "")
        self._recorder.tell(EventKind.RUN_FINISHED, seconds=time.monotonic() - started)

    def _open(self) -> None:
        """Start the record, or take it up."""
        path, spec = self._job.out / RECORD, self._job.spec
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["spec_digest"] != spec.digest() or tuple(record["sites"]) != self._job.sites:
                raise CheckpointError(
                    f"the output folder holds run '{record['run']}' of another spec or other sites: "
                    "choose another folder, or run the spec that it holds"
                )
            self._attempt = record["attempt"] + 1
        else:
            with replacing(self._job.out / SPEC) as temporary:
                temporary.write_text(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        self._note("running", "")
        kind = EventKind.RUN_STARTED if self._attempt == 1 else EventKind.RUN_RESUMED
        self._recorder.tell(kind, run=self._job.run, attempt=self._attempt, sites=list(self._job.sites))

    def _note(self, state: str, reason: str) -> None:
        """Write how the run stands into its record, in place of how it stood."""
        record = {
            "run": self._job.run,
            "spec_digest": self._job.spec.digest(),
            "sites": self._job.sites,
            "state": state,
            "reason": reason,
            "attempt": self._attempt,
        }
        with replacing(self._job.out / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def _run_stages(self) -> None:
        cards = Preflight(self._job, self._exchange, self._recorder, self._attempt).cards()
        contract = agreed_contract(cards)
        self._check_unchanged(contract)
        for index in range(len(self._job.spec.stages)):
            self._stage(index, contract, cards)

    def _check_unchanged(self, contract: Contract) -> None:
        """Refuse to go on with data of another kind than a stage began with: its classes would be numbered anew."""
        for index, stage in enumerate(self._job.spec.stages):
            plan = kept_plan(self._folder(index))
            changes = differences(plan.contract, contract) if plan else {}
            for key, (before, now) in changes.items():
                raise DataError(
                    f"the sites' data changed since stage '{stage.name}' began: {key} was {before} then and is {now} "
                    "now. Bring them back to what they were, or run the spec anew in another folder or under another id"
                )

    def _stage(self, index: int, contract: Contract, cards: tuple[DatasetCard, ...]) -> None:
        final = self._final(index)
        if final.exists():
            read_final(final)  # a damaged one is refused now, not by whoever uses it later
            return
        if self._shelf.take(index, cards, final):
            self._recorder.tell(EventKind.STAGE_REUSED, stage=self._job.spec.stages[index].name)
            return
        self._begin(index, contract).run()
        self._shelf.put(index, cards, final)

    def _begin(self, index: int, contract: Contract) -> StageRun:
        """A stage before its next round; a new one is planned, and what was read and built for that is then let go."""
        kept = kept_plan(self._folder(index))
        if kept is None:
            return self._plan(index, contract)
        self._tell_start(index, kept)
        return self._rounds(index, kept)

    def _plan(self, index: int, contract: Contract) -> StageRun:
        """Plan a stage, and write what it begins with."""
        stage = self._job.spec.stages[index]
        previous = read_final(self._final(index - 1))[1] if stage.start_from == "previous" else None
        planned = self._planner(
            PlanRequest(
                job=self._job,
                attempt=self._attempt,
                index=index,
                contract=contract,
                previous=previous,
                exchange=self._exchange,
                recorder=self._recorder,
            )
        )
        self._tell_start(index, planned.plan, **({"planned_by": list(planned.sites)} if planned.sites else {}))
        keep_plan(self._folder(index), planned.plan)
        rounds = self._rounds(index, planned.plan)
        rounds.begin(planned.weights)
        return rounds

    def _tell_start(self, index: int, plan: StagePlan, **facts: Any) -> None:
        stage = self._job.spec.stages[index]
        parameters = sum(math.prod(entry.shape) for entry in plan.manifest.entries)
        self._recorder.tell(
            EventKind.STAGE_STARTED,
            stage=stage.name,
            rounds=stage.rounds,
            notes=list(plan.notes),
            parameters=parameters,
            **facts,
        )

    def _rounds(self, index: int, plan: StagePlan) -> StageRun:
        folder = StageFolder(self._folder(index), {"spec": self._job.spec.digest(), "plan": plan.digest()})
        return StageRun(self._context(index, plan), folder, self._job.spec.evaluate, seed=self._job.spec.seed)

    def _folder(self, index: int) -> Path:
        return stage_folder(self._job.out, self._job.spec.stages[index].name)

    def _final(self, index: int) -> Path:
        return final_weights(self._job.out, self._job.spec.stages[index].name)

    def _context(self, index: int, plan: StagePlan) -> StageContext:
        return StageContext(
            run=self._job.run,
            attempt=self._attempt,
            index=index,
            stage=self._job.spec.stages[index],
            plan=plan,
            cohort=self._job.spec.cohort,
            sites=self._job.sites,
            exchange=self._exchange,
            recorder=self._recorder,
        )
