"""Carries many runs out, one after another or side by side, each in a process of its own.

Runs that begin alike never run at the same time: the first computes what they share, and the others take it over. So
as many processes as one likes do the same work as one, and give the same bits.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import NoReturn

from rich.markup import escape

from fedward_cli.comparison.arm_runs import Plan
from fedward_cli.display.consoles import tell
from fedward_cli.simulation.execution import execute
from fedward_cli.simulation.results import Results, read_results
from fedward_core.engine import Job
from fedward_core.errors import FedwardError


@dataclass(frozen=True, kw_only=True)
class Run:
    """A job with what people call it."""

    name: str
    job: Job

    @property
    def beginning(self) -> str:
        """Alike for runs whose first stages are alike, so that one can take it over from another."""
        return f"{self.job.data}\x1f{self.job.spec.beginning(1).digest()}"


def carry_all_out(
    runs: Sequence[Run], plan: Plan, carry_out: Callable[[Job], Results] | None = None
) -> list[tuple[Run, Results | str]]:
    """Bring runs to their ends, as many at a time as the plan says.

    Args:
        runs: The runs, in order.
        plan: The engine, the number of runs at a time, and whether to begin anew.
        carry_out: Carries one job out in this process, one after another.

    Returns:
        Each run with its results, or with the reason why it failed; a failure stops no other run.

    Raises:
        KeyboardInterrupt: It was interrupted; every process has ended.
    """
    if carry_out is None and plan.jobs > 1:
        return _SideBySide(runs, plan).outcomes()
    return [(run, _outcome(run, plan, carry_out)) for run in runs]


def _outcome(run: Run, plan: Plan, carry_out: Callable[[Job], Results] | None) -> Results | str:
    tell(f"\n[bold]{escape(run.name)}[/]")
    try:
        return carry_out(run.job) if carry_out else execute(run.job, engine=plan.engine, fresh=plan.fresh)
    except FedwardError as error:
        tell(f"[red]{escape(run.name)} failed[/]: {escape(str(error))}")
        return str(error)


def interrupt_once(number: int, frame: FrameType | None) -> NoReturn:
    """Handle SIGINT as Python does, and then no more: Ctrl-C comes from the terminal, and again from the parent.

    Raises:
        KeyboardInterrupt: Always.
    """
    signal.signal(number, signal.SIG_IGN)  # so that nothing disturbs the clearing up
    signal.default_int_handler(number, frame)


@dataclass(frozen=True, kw_only=True)
class _Active:
    run: Run
    reasons: Connection

    def reason(self, exit_code: int) -> str:
        """Why the process failed, by its own words if it had time for any."""
        try:
            return str(self.reasons.recv())
        except EOFError:
            return f"its process ended with exit code {exit_code}; a negative one is the signal that killed it"


class _SideBySide:
    def __init__(self, runs: Sequence[Run], plan: Plan) -> None:
        self._runs, self._plan = runs, plan
        self._waiting = list(runs)
        self._active: dict[SpawnProcess, _Active] = {}
        self._reasons: dict[str, str] = {}

    def outcomes(self) -> list[tuple[Run, Results | str]]:
        try:
            while self._waiting or self._active:
                self._start_what_can_start()
                self._reap()
        finally:
            self._stop()
        return [(run, self._reasons.get(run.name) or read_results(run.job.out)) for run in self._runs]

    def _start_what_can_start(self) -> None:
        while len(self._active) < self._plan.jobs:
            busy = {active.run.beginning for active in self._active.values()}
            run = next((run for run in self._waiting if run.beginning not in busy), None)
            if run is None:
                return
            self._waiting.remove(run)
            # Not forked: a fork would wait for ever for the threads of what this process has already computed.
            context = multiprocessing.get_context("spawn")
            reasons, tell_reason = context.Pipe(duplex=False)
            process = context.Process(target=_carry_out, args=(run, self._plan, tell_reason))
            process.start()
            tell_reason.close()
            self._active[process] = _Active(run=run, reasons=reasons)

    def _reap(self) -> None:
        wait([process.sentinel for process in self._active])
        for process in [process for process in self._active if process.exitcode is not None]:
            active = self._active.pop(process)
            run = active.run
            if process.exitcode:
                self._reasons[run.name] = active.reason(process.exitcode)
                tell(f"[red]{escape(run.name)} failed[/]: {escape(self._reasons[run.name])}")
            done = len(self._runs) - len(self._waiting) - len(self._active)
            tell(f"{escape(run.name)} has ended: {done} of {len(self._runs)}")

    def _stop(self) -> None:
        """Ask those that still run to keep what they have reached, and wait for them."""
        for process in self._active:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGINT)
        for process in self._active:
            process.join()


def _carry_out(run: Run, plan: Plan, tell_reason: Connection) -> None:
    """Carry one run out, in a process of its own; what it reached is on disk."""
    signal.signal(signal.SIGINT, interrupt_once)
    try:
        execute(run.job, engine=plan.engine, fresh=plan.fresh, name=run.name)
    except FedwardError as error:
        tell_reason.send(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
