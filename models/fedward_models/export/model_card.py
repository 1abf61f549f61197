"""The model card: what is known of a finished model, in Markdown, from the facts of its run alone.

Its headings follow M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, https://arxiv.org/abs/1810.03993.
"""

from collections.abc import Iterable

from fedward_core import __version__
from fedward_core.cards import DataKind, DatasetCard, Split, Task
from fedward_core.metric import Metric, Metrics
from fedward_core.spec import Dataset, Standardisation
from fedward_models.export.facts import SMALLEST_COUNT, RunFacts
from fedward_models.inference.finished_model import FinishedModel


def write_card(model: FinishedModel, facts: RunFacts, standardisation: Standardisation | None) -> str:
    """The card of a model."""
    parts = (
        f"# {model.spec.name}, stage {model.stage.name}\n",
        _details(model, facts),
        "## Use\n",
        _use(model, standardisation),
        "## Training data\n",
        _data(facts.cards),
        "## Figures\n",
        _figures(model, facts.evaluations),
        "## What is not claimed\n",
        _limits(model),
    )
    return "\n".join(parts)


def _details(model: FinishedModel, facts: RunFacts) -> str:
    backbone = model.spec.backbone_of(model.index)
    rows = {
        "method": model.stage.method.name,
        "backbone": backbone.name if backbone else "none",
        "personalisation": model.stage.personalise.name if model.stage.personalise else "none",
        "parameters": f"{sum(parameter.numel() for parameter in model.method.parameters()):,}",
        "task": f"{model.plan.contract.task}: {', '.join(model.plan.contract.classes)}",
        "input": f"{' x '.join(map(str, model.input_shape))}, {model.plan.contract.kind}",
        "sites": str(len(facts.cards)),
        "rounds of this stage": str(model.stage.rounds),
        "weights": "after the last round" if model.weights == "final" else "after the best round on validation images",
        "spec": f"SHA-256 `{model.spec.digest()}`",
        "made with": f"Fedward {__version__}",
    }
    notes = "".join(f"- {note}\n" for note in model.plan.notes)
    return _table(("what", "value"), rows.items()) + (f"\n{notes}" if notes else "")


def _use(model: FinishedModel, standardisation: Standardisation | None) -> str:
    fixed = standardisation == model.spec.dataset.standardisation
    scale = (
        f"the mean {standardisation.mean:.6f} and the standard deviation {standardisation.std:.6f} "
        + ("that the run's spec fixes" if fixed else "of the training images of the site that exported it")
        if standardisation
        else "the mean and standard deviation of your own training images, as every site of the run did"
    )
    given = f"{_layout(model.spec.dataset)}Pixels are scaled to [0, 1]"
    if model.method.standardises:
        return (
            f"{given}. The method '{model.stage.method.name}' standardises them itself, as its setting 'normalisation' "
            f"says; where that is 'site', by {scale}. {_meaning(model)}\n"
        )
    return f"{given}, then standardised by {scale}. {_meaning(model)}\n"


def _layout(dataset: Dataset) -> str:
    """How volumes and clips lie in the input, which nobody sees from its shape."""
    if dataset.kind is DataKind.CLIP:
        return f"Frames follow each other in time, from the middle of a video, one of every {dataset.frame_stride}. "
    if dataset.kind is not DataKind.VOLUME:
        return ""
    low, high = (
        map("{:g}".format, dataset.window) if dataset.window else ("each volume's 0.5th percentile", "its 99.5th")
    )
    size = "resampled to the voxels of `dataset.spacing_mm`" if dataset.spacing_mm else "resized as a whole"
    return (
        "Slices go from feet to head, rows from front to back and columns from the patient's right to the left. "
        f"Volumes are {size}, with {low} as black and {high} as white. "
    )


def _meaning(model: FinishedModel) -> str:
    """What comes out."""
    if not model.stage.method.needs_labels:
        return (
            "It was trained without labels and names no classes by itself: it is a beginning for training with labels."
        )
    place = "voxel" if model.plan.contract.kind is DataKind.VOLUME else "pixel"
    return {
        Task.CLASSIFICATION: "The output is one probability for each class, in the order above.",
        Task.MULTI_LABEL: "The output is the probability that each class is there, in the order above; several may be.",
        Task.SEGMENTATION: f"The output is one probability for each class at every {place}, in the order above.",
    }[model.plan.contract.task]


def _data(cards: tuple[DatasetCard, ...]) -> str:
    return _table(("split", "sites", "images", "patients"), (_row(split, cards) for split in Split))


def _row(split: Split, cards: tuple[DatasetCard, ...]) -> tuple[str, ...]:
    having = [card for card in cards if card.num_images.get(split)]
    images = sum(card.num_images[split] for card in having)
    patients = sum(card.num_patients[split] for card in having)
    return (str(split), str(len(having)), _count(images), _count(patients))


def _figures(model: FinishedModel, evaluations: tuple[Metrics, ...]) -> str:
    if not evaluations:
        return "This stage was not evaluated.\n"
    names = {name: None for metrics in evaluations for name in metrics}
    rows = (_figure(name, [metrics[name] for metrics in evaluations if name in metrics]) for name in names)
    header = ("figure", "mean of sites", "lowest site", "highest site", "sites", "images")
    split = f"On the {model.spec.evaluate.split} split of each site, after the last round, with 95 % intervals over "
    few = f"Sites with fewer than {SMALLEST_COUNT} images are left out of a figure; '-' where none remains."
    return f"{split}patients where there are several. {few}\n\n{_table(header, rows)}"


def _figure(name: str, metrics: list[Metric]) -> tuple[str, ...]:
    """A row; a site with few images does not count, nor one where the figure is not defined."""
    known = [(metric.value, metric) for metric in metrics if metric.value is not None and metric.n >= SMALLEST_COUNT]
    if not known:
        return (name, "-", "-", "-", "0", "-")
    ordered = sorted(known, key=lambda pair: pair[0])
    mean = sum(value for value, _ in ordered) / len(ordered)
    images = sum(metric.n for _, metric in ordered)
    return (name, f"{mean:.3f}", str(ordered[0][1]), str(ordered[-1][1]), str(len(ordered)), str(images))


def _limits(model: FinishedModel) -> str:
    claims = [
        "It is the result of a research run, and no medical device: nobody has examined whether it helps a patient.",
        "The figures hold for images of the hospitals that trained it, with n as given. They say nothing of other "
        "hospitals, scanners or patients, nor of single images.",
        "No bias between groups of patients was looked for.",
        "Images stayed at the hospitals, but weights can tell something about the images that they were trained on: "
        "nothing is promised about privacy.",
    ]
    if model.stage.method.needs_labels:
        claims.append(_calibration(model.plan.contract.task))
    if model.caveat:
        claims.append(f"{model.caveat}, and the figures above are those of the sites' own models, not of this one.")
    if model.is_of_a_site:
        claims.append(
            "It is the own model of one site, with the parts that it had kept to itself. The figures above are those "
            "of all sites' own models, and not of this one alone."
        )
    if model.weights == "best":
        claims.append("The figures above are those after the last round, and not of these weights.")
    return "".join(f"- {claim}\n" for claim in claims)


def _calibration(task: Task) -> str:
    if task is Task.SEGMENTATION:
        return "Probabilities are not calibrated."
    return "Probabilities are not calibrated: `fedward predict` measures how far off they are on images of your own."


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")


def _count(number: int) -> str:
    return f"fewer than {SMALLEST_COUNT}" if 0 < number < SMALLEST_COUNT else f"{number:,}"
