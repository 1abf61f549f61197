"""Two means of errors under corruption, which are often mistaken for each other.

The paper of RobustCNN reports the first and its figure calls it by the name of the second.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from fedward_core.errors import SpecError

# AlexNet's mean errors on ImageNet-C in percent, over five severities (Hendrycks and Dietterich, ICLR 2019).
ALEXNET = {
    "gaussian_noise": 88.64,
    "shot_noise": 89.45,
    "impulse_noise": 92.26,
    "defocus_blur": 81.99,
    "glass_blur": 82.63,
    "motion_blur": 78.59,
    "zoom_blur": 79.84,
    "snow": 86.68,
    "frost": 82.66,
    "fog": 81.93,
    "brightness": 56.46,
    "contrast": 85.32,
    "elastic_transform": 64.61,
    "pixelate": 71.78,
    "jpeg_compression": 60.65,
}


def mean_error(errors: Mapping[str, Sequence[float]]) -> float:
    """The plain mean over corruptions and severities, in the unit of the errors.

    Args:
        errors: By corruption, one for each severity.
    """
    return fmean(fmean(severities) for severities in errors.values())


def mean_corruption_error(errors: Mapping[str, Sequence[float]], reference: Mapping[str, float]) -> float:
    """The mean over corruptions of errors relative to another network's, in percent: 100 for that network itself.

    Args:
        errors: By corruption, one for each severity, in percent.
        reference: The other network's mean error on each corruption, in percent: :data:`ALEXNET` for ImageNet-C.

    Raises:
        SpecError: The reference lacks a corruption, or has no error on it.
    """
    missing = [name for name in errors if not reference.get(name)]
    if missing:
        raise SpecError(f"no error to compare with for {', '.join(missing)}: give one above 0 for each corruption")
    return 100 * fmean(fmean(severities) / reference[name] for name, severities in errors.items())
