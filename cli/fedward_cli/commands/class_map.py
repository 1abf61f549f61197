"""``fedward zoo map``: which class of a frozen classifier stands for each class of a study."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field
from rich.markup import escape

from fedward_cli.display.consoles import output, tell
from fedward_cli.display.tables import folding
from fedward_cli.options import AsJson, SpecFile
from fedward_core.config import SHA256, Frozen
from fedward_core.errors import SpecError
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor


class ClassCounts(Frozen):
    """How often a classifier names each of its classes for images of each class of a study: all that a site tells.

    Attributes:
        weights: The digest of the classifier's file, as the spec has it: counts of another do not add up with these.
        classes: The study's classes, in order.
        source_classes: How many classes the classifier has.
        counts: A row for each of the study's classes: numbers of the classifier's, and how often each was named.
    """

    weights: str = Field(pattern=SHA256)
    classes: tuple[str, ...] = Field(min_length=1)
    source_classes: int = Field(ge=1)
    counts: tuple[dict[int, int], ...]


def map_classes(
    spec: SpecFile,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A folder with one .npz file or one folder for each site.", exists=True),
    ] = None,
    site: Annotated[list[str] | None, typer.Option("--site", help="Sites to count at; all by default.")] = None,
    add: Annotated[
        list[Path] | None, typer.Option("--add", help="Counts that another site has written; they are added up.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the counts to this file, for `--add`.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="The stage of evp; the only one by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Match a study's classes with those of a frozen classifier, for the `mapping` of a stage of evp.

    Each class gets the answer that its training images get most often, one to one. A site that counts for itself passes
    on counts by class, and no image.

    For example `fedward zoo map evp.yaml --data hospitals/`
    """
    from fedward_models.methods.evp.class_counts import evp_stage  # torch
    from fedward_models.methods.evp.matching import match_classes

    chosen = Spec.read(spec)
    index = evp_stage(chosen, stage)
    weights = _weights_of(chosen, index)
    given = [*_counted(chosen, index, data, site or []), *(_read(path, weights) for path in add or [])]
    if not given:
        raise typer.BadParameter("there is nothing to match by: give --data to count here, or --add what was counted")
    total = _summed(given)
    if out:
        out.write_text(total.model_dump_json(indent=1) + "\n", encoding="utf-8")
    counts = _dense(total)
    mapping = match_classes(counts)
    if as_json:
        typer.echo(json.dumps({"mapping": mapping}))
        return
    _show(total, counts, mapping)


def _weights_of(spec: Spec, index: int) -> str:
    from fedward_models.methods.evp.config import EVPConfig

    config = spec.stages[index].method
    assert isinstance(config, EVPConfig)
    assert not isinstance(config.weights, str)
    return config.weights.sha256


def _counted(spec: Spec, index: int, data: Path | None, sites: list[str]) -> list[ClassCounts]:
    if data is None:
        if sites:
            raise typer.BadParameter("--site says at which sites to count, in a folder: give --data too")
        return []
    from fedward_models.data import sites_in  # torch
    from fedward_models.methods.evp.class_counts import count_site

    weights = _weights_of(spec, index)
    return [_sparse(weights, *count_site(spec, index, data, site)) for site in sites or sites_in(data)]


def _sparse(weights: str, counts: "Tensor", classes: tuple[str, ...]) -> ClassCounts:
    rows = ({number: count for number, count in enumerate(row) if count} for row in counts.tolist())
    return ClassCounts(weights=weights, classes=classes, source_classes=counts.shape[1], counts=tuple(rows))


def _dense(total: ClassCounts) -> "Tensor":
    import torch

    counts = torch.zeros(len(total.classes), total.source_classes, dtype=torch.long)
    for row, found in zip(counts, total.counts, strict=True):
        for number, count in found.items():
            row[number] = count
    return counts


def _read(path: Path, weights: str) -> ClassCounts:
    try:
        found = ClassCounts.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(
            f"'{path.name}' holds no counts of a known classifier: expected a file that `fedward zoo map --out` wrote, "
            "with the digest of the weights. A file of an earlier version has none: write it anew"
        ) from error
    if found.weights != weights:
        raise SpecError(
            f"'{path.name}' counts what another classifier answers: expected the one with sha256 {weights}, which the "
            f"spec names, found {found.weights}: count at every site by one spec"
        )
    numbers = {number for row in found.counts for number in row}
    if len(found.counts) != len(found.classes) or not numbers <= set(range(found.source_classes)):
        raise SpecError(f"'{path.name}' holds counts that do not fit its classes: write it anew")
    return found


def _summed(given: list[ClassCounts]) -> ClassCounts:
    first, *others = given
    for other in others:
        if (other.classes, other.source_classes) != (first.classes, first.source_classes):
            raise SpecError("counts of other classes do not add up: count at every site by one spec")
    rows = []
    for row in zip(*(each.counts for each in given), strict=True):
        numbers = sorted({number for found in row for number in found})
        rows.append({number: sum(found.get(number, 0) for found in row) for number in numbers})
    return first.model_copy(update={"counts": tuple(rows)})


def _show(total: ClassCounts, counts: "Tensor", mapping: tuple[int, ...]) -> None:
    table = folding("class", "images", "answer", "of them so answered", title="Matched classes", title_justify="left")
    for name, row, number in zip(total.classes, counts, mapping, strict=True):
        table.add_row(escape(name), str(int(row.sum())), str(number), str(int(row[number])))
    output().print(table)
    tell(f"For the method of the stage: mapping: {escape(str(list(mapping)))}")
