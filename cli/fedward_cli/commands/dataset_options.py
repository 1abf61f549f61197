"""How commands are told what the data in a folder is, where no spec says it."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fedward_cli.options import class_names
from fedward_core.cards import DataKind, Task
from fedward_core.errors import SpecError
from fedward_core.spec import Dataset

Px = Annotated[int, typer.Option("--px", min=8, help="Look at images resized to this height and width.")]
Kind = Annotated[DataKind, typer.Option(help="What one example is.")]
Depth = Annotated[int | None, typer.Option(min=1, help="Slices of a volume after resampling.")]
Frames = Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")]
Spacing = Annotated[str, typer.Option(help="Resample volumes to this depth, height and width of a voxel, e.g. 3,1,1.")]
Window = Annotated[str, typer.Option(help="The values shown as black and white, e.g. -1000,400 for CT of lungs.")]
Classes = Annotated[str, typer.Option(help="Class names in the order of their numbers, with commas.")]
Labels = Annotated[Task, typer.Option("--task", help="What the labels mean.")]
_NEEDS = {"depth": DataKind.VOLUME, "frames": DataKind.CLIP}


def dataset_of(
    data: Path,
    *,
    px: int,
    classes: str,
    task: Task,
    kind: DataKind,
    depth: int | None,
    frames: int | None,
    spacing: str,
    window: str,
) -> Dataset:
    """What a spec would say of a folder of data, named after the folder.

    Raises:
        BadParameter: A text holds no such numbers, or a kind lacks its depth or frames.
        SpecError: The options do not fit each other.
    """
    for needed, given in (("depth", depth), ("frames", frames)):
        if given is None and kind is _NEEDS[needed]:
            raise typer.BadParameter(f"--kind {kind} needs --{needed}: say how many, e.g. --{needed} 16")
    try:
        return Dataset(
            name=data.resolve().name or "data",
            kind=kind,
            image_px=px,
            depth=depth,
            frames=frames,
            spacing_mm=numbers(spacing, 3, "--spacing") if spacing else None,
            window=numbers(window, 2, "--window") if window else None,
            classes=class_names(classes),
            task=task,
        )
    except ValidationError as error:
        faults = dict.fromkeys(_words(fault["loc"], fault["msg"]) for fault in error.errors())
        raise SpecError("; ".join(faults)) from None


def numbers(text: str, count: int, option: str) -> tuple[float, ...]:
    """The numbers that an option's text holds with commas between them.

    Raises:
        BadParameter: They are not so many numbers.
    """
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if len(found) != count:
        raise typer.BadParameter(f"{option} is '{text}', expected {count} numbers with commas between them")
    return found


def _words(place: tuple[int | str, ...], message: str) -> str:
    """What is wrong, and with which setting where the message does not say so itself."""
    words = message.removeprefix("Value error, ")
    return f"{place[0]}: {words}" if place else words
