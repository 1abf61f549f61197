"""A network of ``monai.networks.nets`` by its name, with the names that this network has for its channels.

MONAI's networks agree on ``spatial_dims``, but call their channels differently; the signature says how.
"""

import difflib
import inspect
from typing import Any, get_type_hints

from torch import nn

from fedward_core.errors import SpecError
from fedward_models.backbones.library_network import unknown_network
from fedward_models.backbones.monai_network.config import MONAIConfig

_INPUTS, _OUTPUTS = ("in_channels", "n_input_channels"), ("out_channels", "num_classes")


def build_network(config: MONAIConfig, *, image_px: int, channels: int, outputs: int) -> nn.Module:
    """Build a network.

    Args:
        config: Which, and its arguments.
        image_px: Height and width of the images.
        channels: Channels of the images.
        outputs: How many classes, or channels of its map, it shall give.

    Raises:
        SpecError: There is no such network, it is of another kind, or it does not take an argument.
    """
    factory = _factory(config.network)
    accepted = _accepted(factory)
    arguments = {
        "spatial_dims": config.spatial_dims,
        _named(accepted, _INPUTS, config): channels,
        _named(accepted, _OUTPUTS, config): outputs,
        **({"img_size": (image_px,) * 2} if "img_size" in accepted and config.spatial_dims == 2 else {}),
        **({"pretrained": False} if "pretrained" in accepted else {}),  # for some the default is a download
        **config.arguments,
    }
    for key in config.arguments:
        if key not in accepted:
            near = difflib.get_close_matches(key, accepted, n=1)
            raise SpecError(
                f"MONAI's '{config.network}' takes no argument '{key}'."
                + (f" Did you mean '{near[0]}'?" if near else f" It takes {', '.join(sorted(accepted))}.")
            )
    try:
        network: nn.Module = factory(**arguments)
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise SpecError(
            f"MONAI cannot build '{config.network}' for images of {image_px} pixels with the arguments "
            f"{', '.join(sorted(config.arguments)) or 'none'}: {error}"
        ) from error
    return network


def _factory(name: str) -> Any:
    from monai.networks import nets  # noqa: PLC0415 - it is slow to import

    known = [key for key in dir(nets) if _is_network(getattr(nets, key))]
    if name not in known:
        raise unknown_network("MONAI", name, known)
    return getattr(nets, name)


def _is_network(candidate: object) -> bool:
    return "spatial_dims" in _accepted(candidate) and candidate is not nn.Module


def _accepted(factory: object) -> frozenset[str]:
    """The names of all arguments: of a class and those that it builds on, or of the class that a function builds."""
    if inspect.isfunction(factory):
        return _accepted(get_type_hints(factory).get("return"))
    if not (inspect.isclass(factory) and issubclass(factory, nn.Module)):
        return frozenset()
    return frozenset(
        name
        for base in factory.__mro__
        if base not in nn.Module.__mro__ and "__init__" in vars(base)
        for name, parameter in inspect.signature(base).parameters.items()
        if parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
    )


def _named(accepted: frozenset[str], names: tuple[str, ...], config: MONAIConfig) -> str:
    for name in names:
        if name in accepted:
            return name
    raise SpecError(
        f"MONAI's '{config.network}' cannot be a backbone: expected it to take {' or '.join(names)}. Choose a network "
        "that turns images into classes or into maps"
    )
