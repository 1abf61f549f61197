"""Any network's 3D convolutions made spatial-temporal separable, and back; no number is changed.

Names, shapes and parameters stay as they are, so states, optimisers and partitions go on. It works on the networks of
MONAI, torchvision and others alike; see ``layers.sts_conv`` for the operator and its source.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from fedward_models.layers.sts_conv import STSConv3d, is_separable


def convert_sts(
    network: nn.Module, *, chosen: Callable[[nn.Conv3d], bool] = is_separable, **settings: Any
) -> list[str]:
    """Replace convolutions within a network by separable ones with the same parameters.

    Args:
        network: Its modules are replaced in place.
        chosen: Which convolutions; all that have the form by default.
        **settings: Of :class:`STSConv3d`: ``static_fraction``, ``rowcol``, ``temporal_padding``.

    Returns:
        The names of those that were replaced.

    Raises:
        SpecError: One that was chosen cannot be separated.
    """
    found = [name for name, module in network.named_modules() if type(module) is nn.Conv3d and chosen(module)]
    for name in found:
        _replace(network, name, lambda conv: _separable(conv, settings))
    return found


def deconvert_sts(network: nn.Module) -> list[str]:
    """Replace separable convolutions within a network by plain ones with the same parameters.

    Returns:
        The names of those that were replaced.
    """
    found = [name for name, module in network.named_modules() if isinstance(module, STSConv3d)]
    for name in found:
        _replace(network, name, _plain)
    return found


def _replace(network: nn.Module, name: str, make: Callable[[nn.Conv3d], nn.Conv3d]) -> None:
    parent, _, own = name.rpartition(".")
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv3d)
    made = make(conv)
    made.weight, made.bias = conv.weight, conv.bias
    made.train(conv.training)
    setattr(network.get_submodule(parent), own, made)


def _separable(conv: nn.Conv3d, settings: dict[str, Any]) -> STSConv3d:
    assert not isinstance(conv.padding, str)
    return STSConv3d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=(conv.kernel_size[0], conv.kernel_size[1], conv.kernel_size[2]),
        stride=(conv.stride[0], conv.stride[1], conv.stride[2]),
        groups=conv.groups,
        bias=conv.bias is not None,
        **settings,
    )


def _plain(conv: nn.Conv3d) -> nn.Conv3d:
    assert not isinstance(conv.padding, str)
    return nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1], conv.kernel_size[2]),
        stride=(conv.stride[0], conv.stride[1], conv.stride[2]),
        padding=(conv.padding[0], conv.padding[1], conv.padding[2]),
        groups=conv.groups,
        bias=conv.bias is not None,
    )
