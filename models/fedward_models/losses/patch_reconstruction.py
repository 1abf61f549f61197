"""How far predicted patches are from true ones.

Letters: B batch, N patches, V values of a patch.
"""

from torch import Tensor

from fedward_core.errors import SpecError

# Keeps a patch of one colour finite; the value is the authors'.
_EPSILON = 1e-6


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of every patch and its deviation, with the unbiased variance as in SSL-FL (Sec. 3).

    Args:
        patches: (B, N, V).

    Returns:
        Two (B, N, 1) tensors; deviations are positive.
    """
    return patches.mean(dim=-1, keepdim=True), (patches.var(dim=-1, keepdim=True) + _EPSILON).sqrt()


def check_normed(num_values: int) -> None:
    """Make sure that patches have a deviation.

    Args:
        num_values: V.

    Raises:
        SpecError: They have one value, which has none.
    """
    if num_values < 2:
        raise SpecError(
            "norm_pixels divides each patch by the deviation of its values, and patches of one grey pixel have one "
            "value: raise patch_px, or set norm_pixels: false"
        )


def normed_patches(patches: Tensor) -> Tensor:
    """Patches without their own mean and deviation, as a target that tells their structure alone (MAE, Sec. 3).

    Args:
        patches: (B, N, V).
    """
    mean, deviation = patch_statistics(patches)
    return (patches - mean) / deviation


def patch_reconstruction(predicted: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """The mean squared error over the hidden patches of each image (MAE, He et al., CVPR 2022).

    Visible patches contribute nothing, to the loss or to any gradient.

    Args:
        predicted: (B, N, V).
        target: (B, N, V).
        hidden: (B, N), whether a patch is hidden; at least one of each image is.

    Returns:
        (B,). Where every image hides as many patches, the mean over images is the mean over all hidden patches.
    """
    errors = (predicted - target).square().mean(dim=-1)
    return errors.where(hidden, 0).sum(dim=1) / hidden.sum(dim=1)
