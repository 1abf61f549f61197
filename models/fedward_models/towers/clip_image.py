"""Published weights of CLIP's image tower, under the names of the backbone ``clip_vit``.

A file holds either the whole model, as OpenAI and open_clip publish it (``visual.conv1.weight``, ...), or the backbone
as Fedward writes it.
"""

import re

import numpy as np

from fedward_core.arrays import Array, Arrays, under

_VISUAL = "visual."
# In the order in which they are tried; the rest of a name stays.
_NAMES = (
    (r"^conv1\.", "patch_embed."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm_post."),
    (r"^proj$", "projection.weight"),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def is_clip(arrays: Arrays) -> bool:
    """Whether a file holds a published CLIP."""
    return f"{_VISUAL}conv1.weight" in arrays


def image_entries(arrays: Arrays) -> dict[str, Array]:
    """The entries of the image tower of a published CLIP, in float32, by the names of ``clip_vit``."""
    visual = under(_VISUAL, arrays)
    return {_renamed(name): _reshaped(name, array.astype(np.float32)) for name, array in visual.items()}


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _reshaped(name: str, array: Array) -> Array:
    """Tokens and positions gain their batch axis; the projection is written for products from the left."""
    if name == "class_embedding":
        return array.reshape(1, 1, -1)
    if name == "positional_embedding":
        return array[None]
    return np.ascontiguousarray(array.T) if name == "proj" else array
