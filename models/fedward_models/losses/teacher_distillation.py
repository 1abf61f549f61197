"""Learning from a teacher's predictions beside the labels.

Papers: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531 (soft); H. Touvron et al., "Training data-efficient image transformers & distillation
through attention", ICML 2021, https://arxiv.org/abs/2012.12877 (hard). The weights are decided here.

Letters: B batch, K classes.
"""

from torch import Tensor
from torch.nn import functional


def soft_distillation(logits: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """The squared temperature times the divergence from the softened teacher to the softened student: (B,).

    Args:
        logits: (B, K), the student's.
        teacher: (B, K), the teacher's logits for the same images, without a gradient.
        temperature: Above 0; the larger, the more the teacher's small probabilities count.
    """
    ours, theirs = (functional.log_softmax(scores / temperature, dim=1) for scores in (logits, teacher))
    return temperature**2 * functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)


def hard_distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """The cross-entropy with the class that the teacher chooses: (B,)."""
    return functional.cross_entropy(logits, teacher.argmax(dim=1), reduction="none")
