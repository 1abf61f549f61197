"""Shows a run while it happens, fed by its events: bars on a terminal, a line now and then anywhere else."""

import math
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

_LINES_A_STAGE = 10
_COLUMNS = ("{task.fields[rate]}", "{task.fields[loss]}", "{task.fields[answered]}", "{task.fields[metric]}")


class Display(Protocol):
    """A listener that shows what it hears for as long as it is entered."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to show."""

    def __call__(self, event: Event) -> None:
        """Take in what happened."""


def display_for(console: Console, spec: Spec, num_sites: int) -> Display:
    """The display that suits a console."""
    return Bars(console, spec, num_sites) if console.is_terminal else Lines(console, spec, num_sites)


class Lines:
    """One line every few rounds, for logs and pipes."""

    def __init__(self, console: Console, spec: Spec, num_sites: int) -> None:
        self._console = console
        self._rounds = {stage.name: stage.rounds for stage in spec.stages}
        self._num_sites = num_sites
        self._evaluated = Latest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self._evaluated.take(event)
        sentence = remark(event)
        if sentence:
            self._console.print(sentence)
        elif event.kind is EventKind.ROUND_FINISHED and self._is_due(event):
            parts = (_rate(event), _loss(event), _answered(event, self._num_sites), self._evaluated.sentence())
            head = f"{event.stage}: round {_done(event)} of {self._rounds[event.stage or '']}"
            self._console.print(", ".join((head, *(part for part in parts if part))))

    def _is_due(self, event: Event) -> bool:
        rounds = self._rounds[event.stage or ""]
        every = math.ceil(rounds / _LINES_A_STAGE)
        return _done(event) in (1, rounds) or _done(event) % every == 0


class Bars:
    """A bar for each stage, for terminals."""

    def __init__(self, console: Console, spec: Spec, num_sites: int) -> None:
        columns = [TextColumn(f"[dim]{column}") for column in _COLUMNS]
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} rounds"),
            *columns,
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {stage.name: self._bar(stage.name, stage.rounds) for stage in spec.stages}
        self._num_sites = num_sites
        self._evaluated = Latest()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self._evaluated.take(event)
        sentence = remark(event)
        if sentence:
            self._progress.console.print(sentence)
        task = self._tasks.get(event.stage or "")
        if task is not None:
            self._move(task, event)

    def _bar(self, name: str, rounds: int) -> TaskID:
        return self._progress.add_task(name, total=rounds, start=False, rate="", loss="", answered="", metric="")

    def _move(self, task: TaskID, event: Event) -> None:
        if event.kind is EventKind.STAGE_STARTED:
            self._progress.start_task(task)
        elif event.kind is EventKind.STAGE_REUSED:
            self._progress.update(task, completed=self._progress.tasks[task].total, rate="reused")
        elif event.kind is EventKind.ROUND_FINISHED:
            answered = _answered(event, self._num_sites)
            self._progress.update(task, completed=_done(event), rate=_rate(event), loss=_loss(event), answered=answered)
        elif event.kind is EventKind.EVALUATED:
            self._progress.update(task, metric=self._evaluated.sentence())


class Latest:
    """The newest evaluation of every site, and what it says in short."""

    _SHOWN = ("balanced_accuracy", "accuracy", "auroc")

    def __init__(self) -> None:
        self._round: tuple[str | None, int | None] = (None, None)
        self._values: dict[str, list[float]] = {}

    def take(self, event: Event) -> None:
        """Take in an event; evaluations of a new round replace those of the last."""
        if event.kind is not EventKind.EVALUATED:
            return
        if (event.stage, event.round) != self._round:
            self._round, self._values = (event.stage, event.round), {}
        for name, metric in event.facts["metrics"].items():
            if metric["value"] is not None:
                self._values.setdefault(name, []).append(metric["value"])

    def sentence(self) -> str:
        """The mean over sites of the first figure that is known."""
        for name in (*self._SHOWN, *self._values):
            if values := self._values.get(name):
                label = "evaluated loss" if name == "loss" else name.replace("_", " ")
                return f"{label} {sum(values) / len(values):.3f}"
        return ""


def remark(event: Event) -> str:
    """What must be said at once, whatever the display: starts, resumption, reuse, drop-outs, warnings and failure."""
    say = _REMARKS.get(event.kind)
    return say(event) if say else ""


def _introduction(event: Event) -> str:
    head = f"[cyan]{event.stage}[/]: {event.facts['rounds']} rounds, {event.facts['parameters']:,} weights"
    return "\n".join((head, *(f"  [dim]{escape(note)}[/]" for note in event.facts["notes"])))


def _resumption(event: Event) -> str:  # noqa: ARG001 - the signature of all remarks
    return "[cyan]Resumed[/]"


def _reuse(event: Event) -> str:
    return f"[cyan]{event.stage}[/]: taken from an earlier run with the same settings"


def _drop_out(event: Event) -> str:
    return f"[yellow]{event.site} is left out[/] {_place(event)}: {_reason(event)}"


def _warning(event: Event) -> str:
    where = f" at {event.site}" if event.site else ""
    return f"[yellow]Warning{where}[/] {_place(event)}".rstrip() + f": {_reason(event)}"


def _failure(event: Event) -> str:
    return f"[red]The run failed[/]: {_reason(event)}"


_REMARKS = {
    EventKind.STAGE_STARTED: _introduction,
    EventKind.RUN_RESUMED: _resumption,
    EventKind.STAGE_REUSED: _reuse,
    EventKind.SITE_DROPPED: _drop_out,
    EventKind.WARNING: _warning,
    EventKind.RUN_FAILED: _failure,
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
