"""Where the decisions of a finished model came from, for images of one site, which stay there.

Letters: N images, C channel, H height, W width; D slices or T frames may stand before H.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Split, Task
from fedward_core.errors import SpecError
from fedward_models.backbones.minit.minit import MINiT
from fedward_models.backbones.minit.volume_transformer import VolumeTransformer
from fedward_models.data.batches.clip_views import views_for_testing
from fedward_models.data.reading.scans import spacing_on_grid
from fedward_models.data.site_data import read_site
from fedward_models.explanations.gradients import integrated_gradients
from fedward_models.explanations.voxel_map import attention_map, contribution_map
from fedward_models.inference.finished_model import FinishedModel
from fedward_models.inference.fitting import check_names_images, open_fitting
from fedward_models.inference.predicting import refuse_diverged

MapKind = Literal["gradients", "contributions", "attention"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One image with its map.

    Attributes:
        site: The site.
        contract: What the image is.
        image: Its place among the site's usable ones, counted from 0.
        name: Its file or id as the site has it, or nothing.
        named: The class that the model names; the most probable one where it may name several, or none.
        pixels: (H, W), (D, H, W) or (T, H, W), in [0, 1], the mean of channels.
        heat: Of the same shape; above 0 for the class, below against it.
        missed: The part of the logit's difference to a black image that the map does not account for; None for maps
            of other kinds.
        spacing_mm: Depth, height and width of a voxel of the study's grid, where it is known.
    """

    site: str
    contract: Contract
    image: int
    name: str
    named: str
    pixels: Array
    heat: Array
    missed: float | None = None
    spacing_mm: tuple[float, ...] | None = None


def explain_site(  # noqa: PLR0913 - three of them by name
    model: FinishedModel,
    data: Path,
    site: str,
    split: Split,
    *,
    kind: MapKind,
    num_images: int,
    give_way: Callable[[], None] = lambda: None,
) -> list[Explanation]:
    """Explain the first images of a split, each for the class that the model names.

    Where a prediction is the mean over shorter clips of a clip, so is the logit that is explained.

    Args:
        model: The model.
        data: The folder of the data.
        site: The site.
        split: Which of its images.
        kind: What the maps show.
        num_images: How many images.
        give_way: Called after every image; others may compute until it returns.

    Raises:
        DataError: The site cannot be read, or its images are not what the model was trained on.
        DivergedError: A prediction is not finite.
        SpecError: The model names no classes of whole images, has no such maps, or reads no standardised images.
    """
    check_has_maps(model, kind)
    images = open_fitting(model, data, site, split)
    content = read_site(data, site, model.spec.dataset)
    images = images.subset(torch.arange(min(num_images, len(images))))
    black = torch.full((1, *model.input_shape), -images.mean / images.std)
    explained = []
    for row, levels in zip(images.rows.tolist(), images.images, strict=True):
        pixels = levels.float() / 255
        heat, chosen, missed = _map(model, ((pixels - images.mean) / images.std)[None], black, kind)
        explained.append(
            Explanation(
                site=site,
                contract=model.plan.contract,
                image=row,
                name=str(content.names[row]),
                named=model.plan.contract.classes[chosen],
                pixels=pixels.mean(dim=0).numpy(),
                heat=heat.numpy(),
                missed=missed,
                spacing_mm=spacing_on_grid(content, row, model.spec.dataset),
            )
        )
        give_way()
    return explained


def check_has_maps(model: FinishedModel, kind: MapKind) -> None:
    """Make sure that a model names classes of whole images, and has maps of a kind.

    Raises:
        SpecError: It does not, has none, or reads no standardised images.
    """
    check_names_images(model)
    if model.method.standardises:
        raise SpecError(
            f"'{model.stage.method.name}' standardises pixels itself, and maps are of standardised images: choose a "
            "model that reads these"
        )
    if kind == "contributions":
        _blocks_and_head(model)
    if kind == "attention":
        _transformer(model)


def _map(model: FinishedModel, image: Tensor, black: Tensor, kind: MapKind) -> tuple[Tensor, int, float | None]:
    """The map, the class that the model names, and what the map misses."""
    with torch.no_grad():
        predicted = model.method.predict(image)
    refuse_diverged(predicted.numpy())
    chosen = int(predicted.argmax())
    if kind == "gradients":
        heat, missed = _gradients(model, image, black, chosen)
        return heat, chosen, missed
    heat = _contributions(model, image, chosen) if kind == "contributions" else _attention(model, image)
    return heat, chosen, None


def _gradients(model: FinishedModel, image: Tensor, black: Tensor, chosen: int) -> tuple[Tensor, float]:
    """The map, and how far its sum is from what it should account for."""

    def logit(images: Tensor) -> Tensor:
        return _logits(model, images)[:, chosen]

    heat = integrated_gradients(logit, image, baseline=black)[0].sum(dim=0).detach()
    with torch.no_grad():
        difference = float(logit(image) - logit(black))
    return heat, abs(float(heat.sum()) - difference) / max(abs(difference), torch.finfo(torch.float32).eps)


def _logits(model: FinishedModel, images: Tensor) -> Tensor:
    """(N, K); the mean over the views of testing where a prediction is."""
    clips = getattr(model.stage.method, "clips", None)
    views = views_for_testing(images, clips) if clips else (images,)
    return torch.stack([model.method.logits(view) for view in views]).mean(dim=0)


def _contributions(model: FinishedModel, image: Tensor, chosen: int) -> Tensor:
    backbone, head = _blocks_and_head(model)
    exclusive = model.plan.contract.task is not Task.MULTI_LABEL
    return contribution_map(backbone, head, image, chosen=chosen, exclusive=exclusive)[0]


def _attention(model: FinishedModel, image: Tensor) -> Tensor:
    return attention_map(_transformer(model), image)[0]


def _blocks_and_head(model: FinishedModel) -> tuple[MINiT, nn.Linear]:
    backbone, head = model.method.backbone, getattr(model.method, "head", None)
    if not isinstance(backbone, MINiT) or not isinstance(head, nn.Linear):
        raise SpecError("only minit has exact contributions of blocks: choose the map 'gradients'")
    return backbone, head


def _transformer(model: FinishedModel) -> VolumeTransformer:
    backbone = model.method.backbone
    if not isinstance(backbone, VolumeTransformer):
        raise SpecError("only minit and nit have maps of attention: choose the map 'gradients'")
    return backbone
