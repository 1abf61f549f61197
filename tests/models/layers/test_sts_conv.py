"""Laws of separable convolutions; their agreement with published arrays is in tests/parity."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fedward_core.errors import DataError, SpecError
from fedward_models.layers.sts_conv import STSConv3d
from fedward_models.layers.sts_conversion import convert_sts, deconvert_sts

DEPTHWISE: dict[str, Any] = {"kernel_size": (3, 3, 3), "groups": 4}
TEMPORAL: dict[str, Any] = {"kernel_size": (3, 1, 1)}
DENSE: dict[str, Any] = {"kernel_size": (3, 3, 3)}
every_kind = pytest.mark.parametrize("kind", [DEPTHWISE, TEMPORAL, DENSE], ids=["depthwise", "temporal", "dense"])


def conv(kind: dict[str, Any], **settings: Any) -> STSConv3d:
    torch.manual_seed(0)
    return STSConv3d(4, 4, **{**kind, **settings})


def clips(*, frames: int = 5, px: int = 9, channels: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(2, channels, frames, px, px, generator=torch.Generator().manual_seed(seed))


def plain(layer: STSConv3d) -> nn.Module:
    network = nn.Sequential(copy.deepcopy(layer))
    deconvert_sts(network)
    return network


def multiply_adds(layer: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        layer(x)
    return int(counter.get_total_flops()) // 2


@every_kind
def test_entries_are_those_of_a_plain_convolution(kind: dict[str, Any]) -> None:
    ours = {name: tensor.shape for name, tensor in conv(kind).state_dict().items()}
    theirs = nn.Conv3d(4, 4, kind["kernel_size"], groups=kind.get("groups", 1), bias=False).state_dict()
    assert ours == {name: tensor.shape for name, tensor in theirs.items()}


@every_kind
def test_converting_and_back_changes_no_bit(kind: dict[str, Any]) -> None:
    network, x = plain(conv(kind)), clips()
    before = network(x)
    assert convert_sts(network) == ["0"]
    assert not torch.equal(network(x), before)
    assert deconvert_sts(network) == ["0"]
    assert torch.equal(network(x), before)


@every_kind
@pytest.mark.parametrize("stride", [1, 2])
def test_multiply_adds_are_those_of_a_plain_convolution(kind: dict[str, Any], stride: int) -> None:
    layer, x = conv(kind, stride=(1, stride, stride)), clips(px=8)
    assert multiply_adds(layer, x) == multiply_adds(plain(layer), x) > 0


@every_kind
@pytest.mark.parametrize("rowcol", ["clean", "flat"])
def test_with_outer_slices_of_zeros_it_is_the_plain_convolution(kind: dict[str, Any], rowcol: str) -> None:
    layer = conv(kind, rowcol=rowcol)
    with torch.no_grad():
        layer.weight[:, :, [0, 2]] = 0
    torch.testing.assert_close(layer(clips()), plain(layer)(clips()))


@every_kind
@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(5)))
def test_static_channels_follow_any_order_of_frames(kind: dict[str, Any], order: list[int]) -> None:
    layer, x = conv(kind), clips()
    before, after = layer(x)[:, :, order], layer(x[:, :, order])
    assert torch.equal(after[:, :2], before[:, :2])
    moves = sorted(pairwise(order)) != [(i, i + 1) for i in range(4)]
    assert not moves or not torch.allclose(after[:, 2:], before[:, 2:])


@every_kind
def test_static_channels_know_no_other_frame(kind: dict[str, Any]) -> None:
    layer, x = conv(kind), clips().requires_grad_()
    static, dynamic = layer(x)[:, :2, 2].sum(), layer(x)[:, 2:, 2].sum()
    (of_static,), (of_dynamic,) = torch.autograd.grad(static, x), torch.autograd.grad(dynamic, x)
    assert not of_static[:, :, [0, 1, 3, 4]].any()
    assert of_dynamic[:, :, [1, 3]].any()


@every_kind
def test_the_fraction_reaches_from_plain_to_static(kind: dict[str, Any]) -> None:
    none, all_ = conv(kind, static_fraction=0.0), conv(kind, static_fraction=1.0)
    torch.testing.assert_close(none(clips()), plain(none)(clips()))
    assert torch.equal(all_(clips().flip(2)), all_(clips()).flip(2))


@pytest.mark.parametrize(("outputs", "fraction", "static"), [(100, 0.55, 55), (50, 0.14, 7), (10, 0.25, 3)])
def test_the_fraction_is_counted_as_it_is_written(outputs: int, fraction: float, static: int) -> None:
    """Products of floats may lie a little above a whole number; a true part of a channel goes to the static ones."""
    assert STSConv3d(1, outputs, kernel_size=(3, 1, 1), static_fraction=fraction).num_static == static


@every_kind
def test_static_channels_are_the_sum_that_the_figure_shows(kind: dict[str, Any]) -> None:
    """The slow twin: every tap at its place, pixel by pixel."""
    layer, x = conv(kind, bias=True), clips(frames=3, px=5)
    with torch.no_grad():
        found = layer(x)
        for channel in (0, 1):
            torch.testing.assert_close(found[:, channel], _static_twin(layer, x, channel))


def _static_twin(layer: STSConv3d, x: Tensor, channel: int) -> Tensor:
    assert layer.bias is not None
    taps = layer.weight[channel]
    sources = x[:, channel : channel + 1] if layer.groups > 1 else x
    padded = functional.pad(sources, (4, 4, 4, 4))
    height, width = x.shape[3:]
    total = torch.zeros_like(x[:, 0]) + layer.bias[channel]
    for i in range(height):
        for j in range(width):
            for down, right, weight in _offsets(taps, rows=channel == 0):
                total[:, :, i, j] += (padded[:, :, :, i + 4 + down, j + 4 + right] * weight.view(1, -1, 1)).sum(dim=1)
    return total


def _offsets(taps: Tensor, *, rows: bool) -> list[tuple[int, int, Tensor]]:
    """Taps (C, 3, k, k) as places and weights (C,): the first of two channels runs along rows, where k is 1."""
    if taps.shape[2] == 1:
        return [(0, t - 1, taps[:, t, 0, 0]) if rows else (t - 1, 0, taps[:, t, 0, 0]) for t in range(3)]
    first, middle, last = taps.unbind(dim=1)
    square = [(i - 1, j - 1, middle[:, i, j]) for i in range(3) for j in range(3)]
    along = [(0, n - 4, first.flatten(1)[:, n]) for n in range(9)]
    return [*square, *along, *((n - 4, 0, last.flatten(1)[:, n]) for n in range(9))]


def test_modes_agree_away_from_borders_and_differ_at_them() -> None:
    clean, flat = conv(DEPTHWISE)(clips(px=12)), conv(DEPTHWISE, rowcol="flat")(clips(px=12))
    torch.testing.assert_close(clean[..., 4:8, 4:8], flat[..., 4:8, 4:8])
    assert not torch.allclose(clean, flat)


def test_an_impulse_at_the_border_leaks_into_the_next_row_when_flattened_only() -> None:
    impulse = torch.zeros(1, 4, 1, 9, 9)
    impulse[..., 4, 8] = 1
    for rowcol, leaks in (("clean", 0), ("flat", 4)):
        layer = conv(DEPTHWISE, rowcol=rowcol)
        with torch.no_grad():
            layer.weight[:, :, 1:] = 0  # along rows only
        assert int(layer(impulse)[0, 0, 0, 5].count_nonzero()) == leaks


def test_strides_sample_places_that_modes_disagree_on() -> None:
    numbers = torch.arange(64.0).view(1, 1, 1, 8, 8).expand(1, 4, 1, 8, 8)
    found = {}
    for rowcol in ("clean", "flat"):
        layer = conv(DEPTHWISE, stride=(1, 2, 2), rowcol=rowcol)
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[:, :, 0, 1, 1] = 1  # the middle of nine along rows
        found[rowcol] = layer(numbers)[0, 0, 0, :2].int().tolist()
    assert found["flat"] == [[0, 4, 8, 12], [16, 20, 24, 28]]
    assert found["clean"] == [[0, 2, 4, 6], [16, 18, 20, 22]]


def test_odd_frames_are_refused_where_strides_are_flattened() -> None:
    assert conv(DEPTHWISE, stride=(1, 2, 2))(clips(px=9)).shape[3:] == (5, 5)
    with pytest.raises(DataError, match="expected sides that it divides"):
        conv(DEPTHWISE, stride=(1, 2, 2), rowcol="flat")(clips(px=9))


@every_kind
def test_a_stride_in_time_takes_every_second_frame(kind: dict[str, Any]) -> None:
    layer = conv(kind, stride=(2, 1, 1))
    dense = conv(kind)(clips())
    torch.testing.assert_close(layer(clips()), dense[:, :, ::2])


@every_kind
def test_a_cycle_that_begins_later_ends_later(kind: dict[str, Any]) -> None:
    layer, x = conv(kind, temporal_padding="circular"), clips()
    torch.testing.assert_close(layer(x.roll(2, dims=2)), layer(x).roll(2, dims=2))


@pytest.mark.parametrize(
    ("inputs", "outputs", "kind", "message"),
    [
        (5, 5, {"kernel_size": (3, 3, 3), "groups": 5}, "cannot be halved"),
        (4, 3, {"kernel_size": (3, 1, 1)}, "cannot be halved"),
        (4, 4, {"kernel_size": (5, 1, 1)}, "cannot be separated"),
        (4, 4, {"kernel_size": (3, 3, 3), "groups": 2}, "cannot be separated"),
        (4, 4, {"kernel_size": (3, 3, 3), "stride": (1, 1, 2)}, "cannot be separated"),
    ],
)
def test_what_cannot_be_separated_is_refused(inputs: int, outputs: int, kind: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        STSConv3d(inputs, outputs, **kind)


@every_kind
def test_it_compiles_and_runs_in_half_precision(kind: dict[str, Any]) -> None:
    layer, x = conv(kind), clips()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x)
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), layer(x), atol=0.1, rtol=0.1)
