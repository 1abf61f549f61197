"""Which entries of a state belong to normalisations."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from fedward_core.errors import SpecError
from fedward_models.method import Method

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def norm_names(method: Method) -> tuple[str, ...]:
    """Scales, shifts and statistics of every normalisation, by state-dict name.

    Raises:
        SpecError: The method has no normalisation, so that keeping them private would have no effect.
    """
    norms = [
        (path, module) for path, module in method.named_modules(remove_duplicate=False) if isinstance(module, NORMS)
    ]
    names = tuple(f"{path}.{name}" for path, module in norms for name in module.state_dict())
    if not names:
        raise SpecError(
            "normalisations shall be private, but the network has none with entries of its own: choose another "
            "backbone or another personalisation"
        )
    return names
