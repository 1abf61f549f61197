"""Shows a run while it happens, fed by its events: bars on a terminal, a line now and then anywhere else."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedward_cli.display.tables import words
from fedward_core.events import Event, EventKind, Listener
from fedward_core.spec import Spec

_LINES_A_STAGE = 10
_FIGURES = ("balanced_accuracy", "accuracy", "auroc", "dice")
_COLUMNS = ("{task.fields[rate]}", "{task.fields[loss]}", "{task.fields[answered]}", "{task.fields[metric]}")
_WIDE = 100  # characters that all columns need; on a narrower screen stand those that tell most
_NARROW_COLUMNS = ("{task.fields[loss]}", "{task.fields[metric]}")


@contextmanager
def shown(console: Console, spec: Spec, num_sites: int, *, name: str = "") -> Iterator[Listener]:
    """A listener that shows a run on a console, in the way that suits it, for as long as the block lasts.

    A run with a name is shown among others, by lines that begin with it.
    """
    if name or not console.is_terminal:
        yield Lines(console, spec, num_sites, name=name)
        return
    bars = Bars(console, spec, num_sites)
    with bars.progress:
        yield bars


class Lines:
    """One line every few rounds and for each evaluation, for logs and pipes."""

    def __init__(self, console: Console, spec: Spec, num_sites: int, *, name: str = "") -> None:
        self._console = console
        self._head = f"[dim]{escape(name)}:[/] " if name else ""
        self._rounds = {stage.name: stage.rounds for stage in spec.stages}
        self._num_sites = num_sites
        self._latest = Latest()

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        if self._latest.is_over(event):
            self._print(self._latest.close())
        self._latest.take(event)
        self._print(remark(event))
        if event.kind is EventKind.ROUND_FINISHED and self._is_due(event):
            parts = (_rate(event), _loss(event), _answered(event, self._num_sites))
            head = f"{event.stage}: round {_done(event)} of {self._rounds[event.stage or '']}"
            self._print(", ".join((head, *(part for part in parts if part))))

    def _print(self, text: str) -> None:
        if text:
            self._console.print(f"{self._head}{text}", soft_wrap=True)

    def _is_due(self, event: Event) -> bool:
        rounds = self._rounds[event.stage or ""]
        every = math.ceil(rounds / _LINES_A_STAGE)
        return _done(event) in (1, rounds) or _done(event) % every == 0


class Bars:
    """A bar for each stage, for terminals.

    Attributes:
        progress: What is drawn; it lives while it is entered.
    """

    def __init__(self, console: Console, spec: Spec, num_sites: int) -> None:
        is_wide = console.width >= _WIDE
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}" + " rounds" * is_wide),
            *(TextColumn(f"[dim]{column}") for column in (_COLUMNS if is_wide else _NARROW_COLUMNS)),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {stage.name: self._bar(stage.name, stage.rounds) for stage in spec.stages}
        self._num_sites = num_sites
        self._latest = Latest()

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self._latest.take(event)
        if sentence := remark(event):
            self.progress.console.print(sentence)
        task = self._tasks.get(event.stage or "")
        if task is not None:
            self._move(task, event)

    def _bar(self, name: str, rounds: int) -> TaskID:
        return self.progress.add_task(name, total=rounds, start=False, rate="", loss="", answered="", metric="")

    def _move(self, task: TaskID, event: Event) -> None:
        if event.kind is EventKind.STAGE_STARTED:
            self.progress.start_task(task)
        elif event.kind is EventKind.STAGE_REUSED:
            self.progress.update(task, completed=self.progress.tasks[task].total, rate="reused")
        elif event.kind is EventKind.ROUND_FINISHED:
            answered = _answered(event, self._num_sites)
            self.progress.update(task, completed=_done(event), rate=_rate(event), loss=_loss(event), answered=answered)
        elif event.kind is EventKind.EVALUATED:
            self.progress.update(task, metric=self._latest.figure())


class Latest:
    """The newest evaluation, gathered from the events of the sites."""

    def __init__(self) -> None:
        self._place: tuple[str | None, int | None] = (None, None)
        self._values: dict[str, list[float]] = {}
        self._is_open = False

    def take(self, event: Event) -> None:
        """Take in an event; evaluations of a new round replace those of the last."""
        if event.kind is not EventKind.EVALUATED:
            return
        if (event.stage, event.round) != self._place:
            self._place, self._values, self._is_open = (event.stage, event.round), {}, True
        for name, metric in event.facts["metrics"].items():
            if metric["value"] is not None:
                self._values.setdefault(name, []).append(metric["value"])

    def is_over(self, event: Event) -> bool:
        """Whether an event ends the evaluation that is being gathered."""
        return self._is_open and event.kind not in (EventKind.EVALUATED, EventKind.WARNING)

    def close(self) -> str:
        """The line for a whole evaluation."""
        self._is_open = False
        stage, round_ = self._place
        return f"{stage}: after round {(round_ or 0) + 1} {self.figure()}"

    def figure(self) -> str:
        """The mean over sites of the first figure that is known."""
        for name in (*_FIGURES, *self._values):
            if values := self._values.get(name):
                label = "evaluated loss" if name == "loss" else words(name)
                return f"{label} {sum(values) / len(values):.3f}"
        return "without a figure that is defined"


def remark(event: Event) -> str:
    """What must be said at once, whatever the display: starts, resumption, reuse, drop-outs and warnings.

    Why a run failed is told once, by whoever let it run.
    """
    say = _REMARKS.get(event.kind)
    return say(event) if say else ""


def _introduction(event: Event) -> str:
    rounds = event.facts["rounds"]
    head = f"[cyan]{event.stage}[/]: {rounds} round{'s' * (rounds != 1)}, {event.facts['parameters']:,} weights"
    return "\n".join((head, *(f"  [dim]{escape(note)}[/]" for note in event.facts["notes"])))


def _resumption(event: Event) -> str:  # noqa: ARG001 - the signature of all remarks
    return "[cyan]Resumed[/]"


def _reuse(event: Event) -> str:
    return f"[cyan]{event.stage}[/]: taken from an earlier run with the same settings"


def _drop_out(event: Event) -> str:
    return f"[yellow]{escape(event.site or '')} is left out[/] {_place(event)}: {_reason(event)}"


def _warning(event: Event) -> str:
    where = f" at {escape(event.site)}" if event.site else ""
    return f"[yellow]Warning{where}[/] {_place(event)}".rstrip() + f": {_reason(event)}"


_REMARKS = {
    EventKind.STAGE_STARTED: _introduction,
    EventKind.RUN_RESUMED: _resumption,
    EventKind.STAGE_REUSED: _reuse,
    EventKind.SITE_DROPPED: _drop_out,
    EventKind.WARNING: _warning,
}


def _reason(event: Event) -> str:
    return escape(str(event.facts["reason"]))


def _place(event: Event) -> str:
    if event.stage is None:
        return ""
    return f"in {event.stage}" if event.round is None else f"in {event.stage}, round {_done(event)}"


def _done(event: Event) -> int:
    """Rounds are counted from 0, people count from 1."""
    return (event.round or 0) + 1


def _rate(event: Event) -> str:
    return f"{event.facts['seconds']:.2f} s/round" if "seconds" in event.facts else ""


def _loss(event: Event) -> str:
    return f"loss {event.facts['loss']:.4f}" if event.facts.get("loss") is not None else ""


def _answered(event: Event, num_sites: int) -> str:
    return f"{len(event.facts.get('sites', ()))}/{num_sites} sites"
