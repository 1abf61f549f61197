"""How far a student's tokens point away from a teacher's (DMAE, Bai et al., CVPR 2023, released code).

Letters: B batch, N tokens, D the teacher's width.
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional


def feature_alignment(student: Tensor, teacher: Tensor, *, distance: Literal["l1", "l2"] = "l1") -> Tensor:
    """The mean difference of tokens that are scaled to length 1.

    Blind to the length of any token. As values are means over D channels, they are small: at most 2/sqrt(D) for ``l1``
    and 4/D for ``l2``; about 2/sqrt(pi D) for ``l1`` where directions are independent.

    Args:
        student: (B, N, D), already projected to the teacher's width.
        teacher: (B, N, D); it gets no gradient.
        distance: Absolute or squared differences.

    Returns:
        (B,).
    """
    found, wanted = (functional.normalize(tokens.float(), dim=-1) for tokens in (student, teacher.detach()))
    difference = found - wanted
    return (difference.abs() if distance == "l1" else difference.square()).mean(dim=(1, 2))
