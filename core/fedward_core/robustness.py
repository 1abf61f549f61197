"""When a model that was trained against one gradient step has learned to fool that step alone."""

FALLEN = 0.5
"""Below this part of the accuracy under one step, accuracy under several is a collapse (decided here: runs that hold
keep more than half, runs that collapsed a ninth or less)."""

FGSM_ACCURACY, PGD_ACCURACY = "fgsm_accuracy", "pgd_accuracy"
"""The names under which a site reports the two."""


def overfits_catastrophically(*, fgsm_accuracy: float, pgd_accuracy: float, num_classes: int) -> bool:
    """Whether accuracy under one gradient step stays high while that under several collapses.

    Paper: Wong et al., "Fast is better than free", ICLR 2020, section 5, which compares with the epoch before.
    Differs: the two accuracies of the same weights are compared, since a site that joins has no epoch before.

    Args:
        fgsm_accuracy: Under one step, in [0, 1].
        pgd_accuracy: Under several steps, in [0, 1].
        num_classes: Accuracy under one step that is no better than guessing never counts as high.
    """
    return fgsm_accuracy > 1 / num_classes and pgd_accuracy < FALLEN * fgsm_accuracy
