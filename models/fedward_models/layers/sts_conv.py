"""Spatial-temporal separable (STS) convolution: half of the channels look at single frames, half also through time.

    weight of a 3D convolution        static channels                          dynamic channels
    (C', C, 3, k, k)                  middle slice   k x k within the frame    the convolution as it is
                                      first slice    1 x k*k along rows
                                      last slice     k*k x 1 along columns

The weight is the same tensor with the same name, so an image network becomes an STS network and back without a
conversion of numbers, and without one parameter or multiply-add more.

Paper: X. Li, H. Wang, C. Wei, J. Mei, A. Yuille, Y. Zhou, C. Xie, "In Defense of Image Pre-Training for Spatiotemporal
Recognition", ECCV 2022, https://arxiv.org/abs/2205.01721.

Faithful to UCSC-VLAA/Image-Pretraining-for-Video (commit c52c946, STS_Conv.py): halves in order, static first; which
slice serves rows and which columns; with 3 x 1 x 1 kernels, whose slices are single taps, the first half of the static
channels takes the three taps along rows and the second half along columns.
Differs: the release flattens frames to sequences, so that the end of a row leaks into the next one, and strides mix
places; this is ``rowcol="flat"``, for released weights. ``clean`` convolves in two dimensions. Dense 3 x 3 x 3 kernels,
strides in time, other splits than one half, and time that closes upon itself are additions.

Letters: B batch, C channel, T frame, H height, W width.
"""

from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.errors import DataError, SpecError

RowCol = Literal["clean", "flat"]
TemporalPadding = Literal["zeros", "circular"]


class STSConv3d(nn.Conv3d):
    """A 3D convolution whose first channels are static and whose last are dynamic.

    Args:
        inputs: C.
        outputs: C'.
        kernel_size: 3 x k x k with an odd k. For k above 1 the convolution is depth-wise or dense, else dense.
        stride: In time, height and width; the last two are equal.
        groups: C for a depth-wise convolution, else 1.
        bias: Whether outputs have one.
        static_fraction: The part of output channels that is static; 1/2 as published. An odd channel goes to the static
            ones.
        rowcol: How static channels run along rows and columns: ``clean``, or ``flat`` as released.
        temporal_padding: What dynamic channels see before the first and after the last frame: zeros as published, or,
            with ``circular``, the other end of the clip, for a heart's cycle.

    Raises:
        SpecError: The convolution cannot be separated: another kernel or other groups, or an odd number of channels
            where both kinds shall be there.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        inputs: int,
        outputs: int,
        *,
        kernel_size: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
        bias: bool = False,
        static_fraction: float = 0.5,
        rowcol: RowCol = "clean",
        temporal_padding: TemporalPadding = "zeros",
    ) -> None:
        padding = (1, kernel_size[1] // 2, kernel_size[2] // 2)
        super().__init__(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=bias)
        if not is_separable(self):
            raise SpecError(
                f"a convolution of kernel {kernel_size}, stride {stride} and {groups} groups cannot be separated: "
                "expected 3 x k x k, depth-wise or dense, with one stride in space"
            )
        if outputs % 2 and 0 < static_fraction < 1:
            raise SpecError(
                f"{outputs} channels cannot be halved into static and dynamic ones: choose an even width, or a "
                "static_fraction of 0 or 1"
            )
        self.static_fraction, self.rowcol, self.temporal_padding = static_fraction, rowcol, temporal_padding
        self.num_static = ceil(round(outputs * static_fraction, 6))  # as a float, 0.55 of 100 is a little above 55

    def forward(self, clips: Tensor) -> Tensor:
        """Static channels, then dynamic ones.

        Args:
            clips: (B, C, T, H, W).

        Returns:
            (B, C', T', H', W'), each size divided by its stride, rounded up.

        Raises:
            DataError: With ``rowcol="flat"``, the stride does not divide the frame.
        """
        static, dynamic = self.weight[: self.num_static], self.weight[self.num_static :]
        parts = []
        if len(static):
            parts.append(self._static(self._inputs(clips, slice(0, self.num_static)), static))
        if len(dynamic):
            parts.append(self._dynamic(self._inputs(clips, slice(self.num_static, None)), dynamic))
        joined = torch.cat(parts, dim=1)
        return joined if self.bias is None else joined + self.bias.view(-1, 1, 1, 1)

    def _inputs(self, clips: Tensor, chosen: slice) -> Tensor:
        """A depth-wise channel sees its own input, a dense one all."""
        return clips[:, chosen] if self.groups > 1 else clips

    def _dynamic(self, clips: Tensor, weight: Tensor) -> Tensor:
        _, *padding = _triple(self.padding)
        if self.temporal_padding == "circular":
            clips = functional.pad(clips, (0, 0, 0, 0, 1, 1), mode="circular")
        through_time = 0 if self.temporal_padding == "circular" else 1
        return functional.conv3d(
            clips, weight, stride=self.stride, padding=(through_time, *padding), groups=self._groups(weight)
        )

    def _static(self, clips: Tensor, weight: Tensor) -> Tensor:
        if self.kernel_size[1] == 1:
            # As released: the larger part first, where the number is odd.
            half = ceil(len(weight) / 2)
            rows = self._along_rows(clips, weight[:half].flatten(2))
            columns = self._along_columns(clips, weight[half:].flatten(2)) if len(weight) > 1 else rows[:, :0]
            return torch.cat([rows, columns], dim=1)
        first, middle, last = weight.unbind(dim=2)
        within = self._within_frames(clips, middle.unsqueeze(2))
        return within + self._along_rows(clips, first.flatten(2)) + self._along_columns(clips, last.flatten(2))

    def _within_frames(self, clips: Tensor, weight: Tensor) -> Tensor:
        padding = tuple((size - 1) // 2 for size in weight.shape[2:])
        return functional.conv3d(clips, weight, stride=self.stride, padding=padding, groups=self._groups(weight))

    def _along_rows(self, clips: Tensor, taps: Tensor) -> Tensor:
        """Taps (C', C, k) along rows."""
        if self.rowcol == "flat":
            return self._along_sequence(clips, taps)
        return self._within_frames(clips, taps[:, :, None, None, :])

    def _along_columns(self, clips: Tensor, taps: Tensor) -> Tensor:
        if self.rowcol == "flat":
            return self._along_sequence(clips.transpose(3, 4), taps).transpose(3, 4)
        return self._within_frames(clips, taps[:, :, None, :, None])

    def _along_sequence(self, clips: Tensor, taps: Tensor) -> Tensor:
        """As in: STS_Conv.py, where a frame is one sequence, row after row."""
        clips = clips[:, :, :: self.stride[0]]
        batch, channels, frames, height, width = clips.shape
        stride = self.stride[1]
        if height % stride or width % stride:
            raise DataError(
                f"frames of {height} x {width} cannot be flattened at stride {stride}: expected sides that it divides. "
                "Choose another size, or rowcol: clean"
            )
        sequences = clips.transpose(1, 2).reshape(batch * frames, channels, height * width)
        groups, padding = self._groups(taps), taps.shape[2] // 2
        found = functional.conv1d(sequences, taps, stride=stride**2, padding=padding, groups=groups)
        return found.reshape(batch, frames, len(taps), height // stride, width // stride).transpose(1, 2)

    def _groups(self, weight: Tensor) -> int:
        return len(weight) if self.groups > 1 else 1


def is_separable(conv: nn.Conv3d) -> bool:
    """Whether a convolution has the form that STS separates."""
    (frames, height, width), (_, down, right) = conv.kernel_size, conv.stride
    depthwise = conv.groups == conv.in_channels == conv.out_channels and height > 1
    return (
        frames == 3
        and height == width
        and height % 2 == 1
        and down == right
        and _triple(conv.padding) == (1, height // 2, height // 2)
        and set(_triple(conv.dilation)) == {1}
        and (depthwise or conv.groups == 1)
        and conv.padding_mode == "zeros"
    )


def _triple(values: str | tuple[int, ...]) -> tuple[int, ...]:
    assert not isinstance(values, str)
    return values
