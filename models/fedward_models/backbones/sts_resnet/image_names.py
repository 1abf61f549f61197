"""Names of image networks' entries as those of SlowOnly, which is a ResNet with bottlenecks of clips."""

import re
from collections.abc import Mapping

from torch import Tensor

_NAMES = (
    (r"^conv1\.", "conv1.conv."),
    (r"^bn1\.", "conv1.bn."),
    (r"^(layer\d+\.\d+)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(layer\d+\.\d+)\.bn(\d)\.", r"\1.conv\2.bn."),
    (r"^(layer\d+\.\d+)\.downsample\.0\.", r"\1.downsample.conv."),
    (r"^(layer\d+\.\d+)\.downsample\.1\.", r"\1.downsample.bn."),
)


def from_image_resnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a ResNet-50 of torchvision or timm, by the names of the backbone ``sts_resnet``.

    The classifier ``fc`` has no place and is left out.
    """
    found = {}
    for name, tensor in state.items():
        fitting = next(((pattern, new) for pattern, new in _NAMES if re.match(pattern, name)), None)
        if fitting is not None:
            found["path." + re.sub(*fitting, name)] = tensor
    return found
