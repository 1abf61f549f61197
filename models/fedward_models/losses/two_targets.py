"""Losses of a mixed image against the targets of its two sources.

Image i of a batch of N was mixed with its partner p(i) = N-1-i, so targets of both are rows of one matrix.

Paper: S. Ren, H. Wang, Z. Gao, S. He, A. Yuille, Y. Zhou, C. Xie, "A Simple Data Mixing Prior for Improving
Self-Supervised Learning" (SDMP), CVPR 2022, arXiv:2206.07692; on the contrast of MoCo v3 (Chen et al., ICCV 2021) and
on the cross-entropy of DINO (Caron et al., ICCV 2021).

Letters: B batch, D features, K prototypes.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def common_content(own: Tensor) -> Tensor:
    """What the mixes of i and of its partner have in common: c_i = 1 - |l_i + l_p(i) - 1|.

    Args:
        own: (B,) the share l of each mix that is the image's own, in [0, 1].

    Returns:
        (B,), in [0, 1]; the same for an image and its partner.
    """
    return 1 - (own + own.flip(0) - 1).abs()


def contrast(
    queries: Tensor, keys: Tensor, own: Tensor, *, temperature: float, form: Literal["a", "b"] = "a"
) -> Tensor:
    """2 tau times the negative log-likelihood of an image's own key and of its partner's, among all keys of the batch.

    With P the softmax over keys, form ``a`` is -(w log P_i + (1-w) log P_p(i)), and form ``b`` is
    -log(w P_i + (1-w) P_p(i)), which is never larger. With w = 1 both are the InfoNCE of MoCo v3.

    Args:
        queries: (B, D), of any length.
        keys: (B, D), of any length; they get no gradient.
        own: (B,) the weight w of the own key, in [0, 1].
        temperature: tau.
        form: Which of the two.

    Returns:
        (B,).
    """
    queries, keys = (functional.normalize(rows.float(), dim=1) for rows in (queries, keys.detach()))
    log_likelihood = functional.log_softmax(queries @ keys.T / temperature, dim=1)
    mine, partners = log_likelihood.diagonal(), log_likelihood.flip(1).diagonal()
    if form == "a":
        return -2 * temperature * (own * mine + (1 - own) * partners)
    return -2 * temperature * torch.logaddexp(own.log() + mine, (1 - own).log() + partners)


def cross_entropy_of_two(student: Tensor, teacher: Tensor, own: Tensor) -> Tensor:
    """The weighted cross-entropies of both targets, w H(t_i, s_i) + (1-w) H(t_p(i), s_i).

    H is linear in the teacher's distribution, so it is taken once, against the weighted mean of both.

    Args:
        student: (B, K) logits, already divided by the student's temperature.
        teacher: (B, K) logits, already centred and divided by the teacher's temperature; they get no gradient.
        own: (B,) the weight w of the own target, in [0, 1].

    Returns:
        (B,).
    """
    targets = teacher.detach().float().softmax(dim=1)
    weight = own.unsqueeze(1)
    mixed = weight * targets + (1 - weight) * targets.flip(0)
    return -(mixed * student.float().log_softmax(dim=1)).sum(dim=1)
