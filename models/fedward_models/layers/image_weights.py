"""Kernels of images made kernels of clips, and the part of them that images can train.

Where a network reads single frames with zeros before and after, only the middle slice of a kernel in time meets data.
So the other slices have no gradient, and in a federation need not travel.

Sources: X. Li et al., ECCV 2022 (https://arxiv.org/abs/2205.01721), with the released ``inflate``; ``mean`` is the
inflation of J. Carreira, A. Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017.

Letters: C channel, T frame, H height, W width.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from fedward_core.errors import CheckpointError

Inflation = Literal["center", "mean", "released"]
_RELEASED = (1 / 9, 1 / 3, 1 / 9)


def inflate(kernel: Tensor, frames: int, mode: Inflation) -> Tensor:
    """A kernel of images as one of clips.

    Args:
        kernel: (C', C, H, W).
        frames: T of the result, odd.
        mode: ``center``: in the middle slice, zeros elsewhere; the network then sees each frame by itself. ``mean``:
            every slice a T-th, equal to the image network on frames that do not change. ``released``: slices of 1/9,
            1/3 and 1/9, whose sum is not 1, as the released SlowOnly for Something-Something; norms take up the rest.

    Returns:
        (C', C, T, H, W).

    Raises:
        CheckpointError: ``released`` is defined for one and three frames only.
    """
    if frames == 1:
        return kernel.unsqueeze(2)
    if mode == "released" and frames != len(_RELEASED):
        raise CheckpointError(f"'released' weights have three slices, found a kernel of {frames}: take center or mean")
    parts = {
        "center": [float(place == frames // 2) for place in range(frames)],
        "mean": [1 / frames] * frames,
        "released": _RELEASED,
    }[mode]
    return kernel.unsqueeze(2) * kernel.new_tensor(parts).view(-1, 1, 1)


def load_image_weights(network: nn.Module, images: Mapping[str, Tensor], *, mode: Inflation = "center") -> list[str]:
    """Load the state of an image network into a network of clips whose entries have the same names.

    Kernels are inflated. Where the clips have one channel and the images three, kernels are summed over theirs, so that
    grey clips give what grey images gave.

    Args:
        network: Its entries are overwritten.
        images: Entries of the image network; those without a place here are left out.
        mode: As in :func:`inflate`.

    Returns:
        The names of entries of the network that found no counterpart, and stay as they are.

    Raises:
        CheckpointError: An entry has a shape that cannot be brought into its place.
    """
    own = network.state_dict()
    fitted = {name: _fitted(name, images[name], like, mode) for name, like in own.items() if name in images}
    network.load_state_dict(fitted, strict=False)
    return [name for name in own if name not in fitted]


def middle_slices(network: nn.Module) -> dict[str, Tensor]:
    """All that training on single frames can move: middle slices of kernels, (C', C, 1, H, W), and all else whole."""
    return {name: _middle(network, name, tensor).clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def load_middle_slices(network: nn.Module, slices: Mapping[str, Tensor]) -> None:
    """Put what :func:`middle_slices` gave back in its place; other slices stay as they are."""
    for name, tensor in network.state_dict().items():
        _middle(network, name, tensor).copy_(slices[name])


def _middle(network: nn.Module, name: str, tensor: Tensor) -> Tensor:
    owner, _, own = name.rpartition(".")
    if own != "weight" or not isinstance(network.get_submodule(owner), nn.Conv3d):
        return tensor
    half = tensor.shape[2] // 2
    return tensor[:, :, half : half + 1]


def _fitted(name: str, images: Tensor, like: Tensor, mode: Inflation) -> Tensor:
    found = images.shape
    if like.ndim == 5 and images.ndim == 4:
        images = inflate(images, like.shape[2], mode)
        if like.shape[1] == 1 and images.shape[1] == 3:
            images = images.sum(dim=1, keepdim=True)
    if images.shape != like.shape:
        raise CheckpointError(
            f"cannot load '{name}': expected {tuple(like.shape)}, found {tuple(found)}. Use the weights of an image "
            "network with the same widths"
        )
    return images
