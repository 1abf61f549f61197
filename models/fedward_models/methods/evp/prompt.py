"""The prompt: learned pixels around a free square, and the norm of what reaches the whole canvas.

Letters: C channel, c side of the canvas, s side of the free square, M pixels of the border.
"""

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.training.workers import average, joined_share

_GUARD = 1e-10  # of the released code


class Prompt(nn.Module):
    """A border of learned pixels; the state holds these alone, so that nothing else travels.

    Args:
        canvas_px: c.
        free_px: s.
        channels: C.
        normal: Start from a normal distribution instead of zeros.

    Attributes:
        border: (C, M) values in units of pixels from 0 to 1, row by row, not clamped.

    Raises:
        SpecError: There is no border, or it is not equally wide on all sides.
    """

    def __init__(self, *, canvas_px: int, free_px: int, channels: int, normal: bool = False) -> None:
        super().__init__()
        self.canvas_px, self.margin_px = canvas_px, _margin(canvas_px, free_px)
        places = border_mask(canvas_px, self.margin_px).flatten().nonzero().flatten()
        self.places: Tensor
        self.register_buffer("places", places, persistent=False)
        start = torch.randn if normal else torch.zeros
        self.border = nn.Parameter(start(channels, len(places)))
        self._reached: Tensor | None = None

    def forward(self) -> Tensor:
        """The canvas, (C, c, c): exactly 0 in the middle, whose gradient is noted all the same.

        Notes add up as gradients do, and begin anew where the border's gradient was cleared.
        """
        canvas = self._blank().index_copy(1, self.places, self.border)
        if canvas.requires_grad:
            if self.border.grad is None:
                self._reached = None
            canvas.register_hook(self._note)  # type: ignore[no-untyped-call]
        return canvas.view(-1, self.canvas_px, self.canvas_px)

    def normalise(self) -> None:
        """Give the border's gradient the length |m G| / |G|, where G is the gradient of the whole canvas (EVP).

        It is m G / |G| as published, also where a scaled loss of mixed precision scales G, and where a local term has
        turned the border's gradient. A gradient of zeros stays. Of workers that train together, G is the mean.
        """
        if self.border.grad is None:
            return
        reached = self._blank() if self._reached is None else self._reached
        if joined_share().count > 1:
            average([reached])
        part = reached[:, self.places].norm() / (reached.norm() + _GUARD)
        self.border.grad.mul_(part / (self.border.grad.norm() + _GUARD))

    def _blank(self) -> Tensor:
        return self.border.new_zeros(len(self.border), self.canvas_px**2)

    def _note(self, gradient: Tensor) -> None:
        self._reached = gradient.detach() if self._reached is None else self._reached + gradient.detach()


def border_mask(canvas_px: int, margin_px: int) -> Tensor:
    """(c, c), bool: where the prompt is."""
    mask = torch.ones(canvas_px, canvas_px, dtype=torch.bool)
    mask[margin_px : canvas_px - margin_px, margin_px : canvas_px - margin_px] = False
    return mask


def published_free_px(canvas_px: int) -> int:
    """The published 164 of 224, to whole pixels of margin, at least one."""
    return canvas_px - 2 * max(round(canvas_px * 30 / 224), 1)


def _margin(canvas_px: int, free_px: int) -> int:
    margin, odd = divmod(canvas_px - free_px, 2)
    if odd or margin < 1 or free_px < 1:
        raise SpecError(
            f"a prompt around {free_px} of {canvas_px} pixels has no border of one width on all sides: set the "
            f"method's image_px to less than {canvas_px}, by an even number"
        )
    return margin
