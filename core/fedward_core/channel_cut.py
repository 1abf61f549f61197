"""Where channels lie in a tensor, and which of them are private.

An axis that is cut is read as ``tiles x channels x unit``:

    conv weight (C, ...)            tiles 1, unit 1          a channel is one row
    attention qkv (3*H*d, ...)      tiles 3, unit d          a channel is a head, present in q, k and v
    linear after flattening a map   tiles 1, unit height*width   a channel is a run of columns

The last ``n`` channels are private. A fixed order, the same at every site, keeps shared channels aligned, and when the
private share grows, what was private stays private (CD2-pFed, Shen et al., CVPR 2022).
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedward_core.config import Frozen
from fedward_core.errors import SpecError
from fedward_core.manifest import Entry


class Cut(Frozen):
    """Where channels lie in a tensor.

    Attributes:
        channels: How many channels the cut axes hold.
        dims: The axes that are cut. With one axis an entry is shared if its channel is; with two, if both are.
        unit: Neighbouring entries that belong to one channel.
        tiles: How often the whole sequence of channels repeats along the axis.
    """

    channels: int = Field(ge=1)
    dims: tuple[int, ...] = (0,)
    unit: int = Field(default=1, ge=1)
    tiles: int = Field(default=1, ge=1)

    def check(self, entry: Entry) -> None:
        """Make sure that an entry can be cut like this.

        Raises:
            SpecError: It has no such axis, or one of another length.
        """
        length = self.tiles * self.channels * self.unit
        for dim in self.dims:
            if not 0 <= dim < len(entry.shape) or entry.shape[dim] != length:
                raise SpecError(
                    f"cannot cut '{entry.name}' of shape {entry.shape} along axis {dim}: {self.tiles} x "
                    f"{self.channels} channels x {self.unit} would need {length} entries there"
                )

    def shared_mask(self, shape: tuple[int, ...], share: Fraction) -> NDArray[np.bool_]:
        """Where a tensor of this shape is shared, at a private share in [0, 1]."""
        flags = np.arange(self.channels) < self.channels - private_channels(self.channels, share)
        axis = np.tile(np.repeat(flags, self.unit), self.tiles)
        mask = np.ones(shape, bool)
        for dim in self.dims:
            mask &= axis.reshape([-1 if d == dim else 1 for d in range(len(shape))])
        return mask


def private_channels(channels: int, share: Fraction) -> int:
    """How many of ``channels`` are private: ``share * channels`` rounded half up, and never all or none by rounding.

    A single channel can't be divided; it is shared until the share is 1.
    """
    if share in (0, 1) or channels == 1:
        return channels if share == 1 else 0
    return min(max(int(share * channels + Fraction(1, 2)), 1), channels - 1)


def compact_shape(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The shape of the block that is left of a tensor where a mask made of cuts holds."""
    axes = range(mask.ndim)
    return tuple(int(mask.any(axis=tuple(other for other in axes if other != axis)).sum()) for axis in axes)
