"""The encoder of DALL-E's discrete autoencoder (Ramesh et al., ICML 2021): from pixels to logits of a vocabulary.

As in: SSL-FL, code/fed_beit with the package dall_e. Entries have the names of the published file, so that its weights
load. Differs: always in full precision, where the published code may halve it.

Letters: B batch, C channel, H height, W width, V vocabulary.
"""

from collections import OrderedDict

from torch import Tensor, nn

_GROUPS = 4
_BLOCKS_OF_GROUP = 2
# Keeps eight residual blocks in a row from growing what they carry: 1 / 8^2.
_BRANCH_SCALE = 1 / (_GROUPS * _BLOCKS_OF_GROUP) ** 2
PATCH_PX = 8
"""Pixels along each side of what becomes one token."""


class DALLEEncoder(nn.Module):
    """A convolution of 7 x 7, four groups of two residual blocks with halving between them, and a head.

    Args:
        width: Channels of the first group, 256 as published; every further group has twice as many.
        vocabulary: V, 8192 as published.
    """

    def __init__(self, *, width: int = 256, vocabulary: int = 8192) -> None:
        super().__init__()
        widths = [width * 2**group for group in range(_GROUPS)]
        parts: OrderedDict[str, nn.Module] = OrderedDict(input=_convolution(3, width, 7))
        for index, (before, after) in enumerate(zip([width, *widths], widths, strict=False), start=1):
            parts[f"group_{index}"] = _group(before, after, halves=index < _GROUPS)
        parts["output"] = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=_convolution(widths[-1], vocabulary, 1)))
        self.blocks = nn.Sequential(parts)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits: (B, 3, H, W) pixels in [0.1, 0.9] to (B, V, H/8, W/8)."""
        logits: Tensor = self.blocks(pixels)
        return logits


class _ResidualBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.id_path: nn.Module = _convolution(before, after, 1) if before != after else nn.Identity()
        sizes = [
            (before, after // 4, 3),
            (after // 4, after // 4, 3),
            (after // 4, after // 4, 3),
            (after // 4, after, 1),
        ]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (inside, outside, kernel) in enumerate(sizes, start=1):
            layers[f"relu_{index}"] = nn.ReLU()
            layers[f"conv_{index}"] = _convolution(inside, outside, kernel)
        self.res_path = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        carried: Tensor = self.id_path(x) + _BRANCH_SCALE * self.res_path(x)
        return carried


def _group(before: int, after: int, *, halves: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(_BLOCKS_OF_GROUP):
        layers[f"block_{index + 1}"] = _ResidualBlock(after if index else before, after)
    if halves:
        layers["pool"] = nn.MaxPool2d(kernel_size=2)
    return nn.Sequential(layers)


def _convolution(before: int, after: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2)
