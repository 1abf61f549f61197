"""Everything that SDMP draws for a batch: views, their order, who is mixed with how much, and where.

first   second             clean views
source                     what the first mix was made of: the first view, or a third
mixed_first  mixed_second  both mixed with the partner, by one weight and in boxes of their own
local                      small crops, of the base dino where it asks for them
"""

from dataclasses import replace

import torch
from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.data.batches.views import draw_view
from fedward_models.methods.sdmp.config import DINOConfig, MixingConfig, SDMPConfig
from fedward_models.methods.sdmp.mixing import Operation, draw_boxes, draw_shares, mix, shares_outside

OPERATIONS: tuple[Operation, ...] = ("mixup", "cutmix", "resizemix")


def draw_all(batch: Batch, config: SDMPConfig, rng: torch.Generator) -> Batch:
    """Draw the views of a batch and mix them.

    With ``swap``, a coin exchanges both views, and these are mixed; with ``extra``, two more views are.

    Args:
        batch: Images as the loader gives them, (B, C, H, W).
        config: The settings.
        rng: A CPU generator.

    Returns:
        The batch, with ``first``, ``second``, ``source``, ``mixed_first`` and ``mixed_second``, (B, C, H, W) each, and
        ``own``, the (B,) weight of the own image in both mixes. With local crops also ``local``, (L, B, C, h, h).
    """
    first, second = _pair(batch, config, rng)
    if config.views == "swap" and float(torch.rand((), generator=rng)) > 0.5:
        first, second = second, first
    to_mix = (first, second) if config.views == "swap" else _pair(batch, config, rng)
    mixed, own = _mix_both(to_mix, _draw_operation(config.mixing, rng), rng)
    drawn = {"first": first, "second": second, "source": to_mix[0], "mixed_first": mixed[0], "mixed_second": mixed[1]}
    if isinstance(config.base, DINOConfig) and config.base.local_crops:
        drawn["local"] = _local_crops(batch, config.base, rng)
    return replace(batch, drawn={**batch.drawn, **drawn, "own": own.to(batch.images)})


def _pair(batch: Batch, config: SDMPConfig, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return draw_view(batch, config.first_view, rng), draw_view(batch, config.second_view, rng)


def _local_crops(batch: Batch, base: DINOConfig, rng: torch.Generator) -> Tensor:
    crops = [draw_view(batch, base.local_view, rng, size_px=base.local_px) for _ in range(base.local_crops)]
    return torch.stack(crops)


def _draw_operation(mixing: MixingConfig, rng: torch.Generator) -> Operation:
    chances = torch.tensor([mixing.mixup, mixing.cutmix, mixing.resizemix])
    return OPERATIONS[int(torch.multinomial(chances, 1, generator=rng))]


def _mix_both(
    views: tuple[Tensor, Tensor], operation: Operation, rng: torch.Generator
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Both views mixed, and the weight of the own image: what was drawn, or what its box leaves."""
    height, width = views[0].shape[2:]
    shares = draw_shares(len(views[0]), rng)
    boxes = [draw_boxes(shares, rng, height=height, width=width) for _ in views]
    first, second = (mix(view, operation, shares=shares, boxes=box) for view, box in zip(views, boxes, strict=True))
    own = shares if operation == "mixup" else shares_outside(boxes[0], height=height, width=width)
    return (first, second), own
