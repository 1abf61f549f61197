"""How much each token looks at each other one, which a fused kernel never has in memory and so is computed once more.

Letters: B batch, T tokens, E embedding, M heads.
"""

from typing import Any

from torch import Tensor


def attention_weights(attention: Any, tokens: Tensor) -> Tensor:
    """The weights of a layer.

    Args:
        attention: That of one of ``transformer_blocks``.
        tokens: (B, T, E), what enters it.

    Returns:
        (B, M, T, T); rows sum to 1.
    """
    joint: Tensor = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1))
    query, key, _ = joint.permute(2, 0, 3, 1, 4)
    weights: Tensor = (query @ key.transpose(-2, -1) * attention.scale).softmax(dim=-1)
    return weights
