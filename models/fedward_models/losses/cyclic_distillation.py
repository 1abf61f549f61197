"""Cyclic distillation: two predictions that teach each other.

Paper: Y. Shen, Y. Zhou, L. Yu, "CD2-pFed: Cyclic Distillation-guided Channel Decoupling for Model Personalization in
Federated Learning", CVPR 2022, arXiv:2204.03880. The formula is the paper's; the temperature and the detached teacher
are options of ours, off by default.
"""

from torch import Tensor
from torch.nn import functional


def cyclic_distillation(
    shared: Tensor, private: Tensor, *, temperature: float = 1.0, detach_teacher: bool = False
) -> Tensor:
    """L_CD = 1/2 [KL(q_s || q_l) + KL(q_l || q_s)], q the softmax over the classes, in nats.

    Symmetric, never negative, zero where both softmaxes agree, and blind to a constant added to all logits of a sample.

    Args:
        shared: (B, K, ...) logits of the shared half.
        private: (B, K, ...) logits of the private half.
        temperature: Divides the logits, above 0; the loss is multiplied by its square, so that gradients keep their
            size (Hinton et al., 2015).
        detach_teacher: The first argument of each divergence is a constant: the gradient is then that of mutual
            learning (Zhang et al., CVPR 2018).

    Returns:
        Scalar: the mean over samples, and over places where logits have some.
    """
    log_shared = functional.log_softmax(shared / temperature, dim=1)
    log_private = functional.log_softmax(private / temperature, dim=1)
    there = _divergence(log_shared, log_private, detach_teacher=detach_teacher)
    back = _divergence(log_private, log_shared, detach_teacher=detach_teacher)
    return temperature**2 * (there + back) / 2


def _divergence(teacher: Tensor, student: Tensor, *, detach_teacher: bool) -> Tensor:
    """KL(teacher || student) of (B, K, ...) log-probabilities, averaged over all but the classes."""
    if detach_teacher:
        teacher = teacher.detach()
    return (teacher.exp() * (teacher - student)).sum(dim=1).mean()
