"""When a model that was trained against one gradient step has learned to fool that step alone."""

FGSM_ACCURACY, PGD_ACCURACY = "fgsm_accuracy", "pgd_accuracy"
"""The names under which a site reports accuracy under one step and under several."""

SQUARE_ACCURACY, AUTO_ATTACK_ACCURACY = "square_accuracy", "auto_attack_accuracy"
"""The same under an attack without gradients, and under the worst of several attacks."""

GAP = 0.2
"""Points of accuracy that several steps must take beyond one (Wong et al., ICLR 2020, section 5: what stops them)."""

FALLEN = 0.5
"""The part of the accuracy under one step below which accuracy under several is a collapse (decided here: runs that
hold keep more than half, runs that collapsed a ninth or less)."""


def overfits_catastrophically(*, fgsm_accuracy: float, pgd_accuracy: float) -> bool:
    """Whether accuracy under one gradient step stays high while that under several collapses.

    Differs: Wong et al. compare with the epoch before; here the two accuracies of the same weights are compared, since
    a site that joins has no epoch before.

    Args:
        fgsm_accuracy: Under one step, in [0, 1].
        pgd_accuracy: Under several steps, in [0, 1].
    """
    return fgsm_accuracy - pgd_accuracy > GAP and pgd_accuracy < FALLEN * fgsm_accuracy
