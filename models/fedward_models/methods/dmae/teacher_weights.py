"""A teacher's weights from a file, made to fit: whoever wrote it, for images of any colour and size.

    Fedward        backbone.blocks.0.attn.qkv.weight
    MAE, timm      blocks.0.attn.qkv.weight
    transformers   vit.encoder.layer.0.attention.attention.{query,key,value}.weight      or without the first word

What is left over, e.g. a decoder or upper blocks, stays as it is and is not needed.
"""

import re
from collections.abc import Mapping

import numpy as np
import torch

from fedward_core.arrays import Array, under
from fedward_models.layers.positions import resized_positions

BACKBONE = "backbone."
_LAST = ("norm.weight", "fc_norm.weight", "layernorm.weight")
_KERNEL, _POSITIONS = "patch_embed.proj.weight", "pos_embed"

# From the names of transformers' ViTMAE, as its files have them, to those of MAE; anchored at both ends.
_TRANSFORMERS = {
    r"vit\.embeddings\.cls_token": "cls_token",
    r"vit\.embeddings\.position_embeddings": _POSITIONS,
    r"vit\.embeddings\.patch_embeddings\.projection\.(\w+)": r"patch_embed.proj.\1",
    r"vit\.encoder\.layer\.(\d+)\.layernorm_before\.(\w+)": r"blocks.\1.norm1.\2",
    r"vit\.encoder\.layer\.(\d+)\.layernorm_after\.(\w+)": r"blocks.\1.norm2.\2",
    r"vit\.encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)": r"blocks.\1.attn.proj.\2",
    r"vit\.encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"vit\.encoder\.layer\.(\d+)\.output\.dense\.(\w+)": r"blocks.\1.mlp.fc2.\2",
}
_QUERY = re.compile(r"vit\.encoder\.layer\.(\d+)\.attention\.attention\.query\.(\w+)")


def fitting(arrays: Mapping[str, Array], *, channels: int, side: int) -> dict[str, Array]:
    """The entries of a vision transformer under MAE's names, for images of the study.

    Args:
        arrays: Entries of a file.
        channels: Of the study's images. A colour kernel sums to a grey one, which is what three equal channels see.
        side: Patches along each side. A table of positions for another grid is stretched to it, as DMAE does at
            fine-tuning.
    """
    named = mae_names(arrays)
    kernel, positions = named.get(_KERNEL), named.get(_POSITIONS)
    if kernel is not None and channels == 1 and kernel.ndim == 4 and kernel.shape[1] == 3:
        named[_KERNEL] = kernel.sum(axis=1, keepdims=True)
    if positions is not None and positions.ndim == 3 and _is_square(positions.shape[1] - 1):
        named[_POSITIONS] = resized_positions(torch.tensor(positions), side=side).numpy()
    return named


def is_whole(arrays: Mapping[str, Array]) -> bool:
    """Whether a file goes on to what follows the last block, its norm; one cut after some block does not."""
    return any(name.removeprefix(BACKBONE).removeprefix("vit.") in _LAST for name in arrays)


def mae_names(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Entries under the names of MAE and timm, whichever of the three forms theirs have."""
    if any(name.startswith(BACKBONE) for name in arrays):
        return under(BACKBONE, arrays)
    if any("embeddings.cls_token" in name for name in arrays):
        theirs = {f"vit.{name.removeprefix('vit.')}": array for name, array in arrays.items()}
        return {**_renamed(theirs), **_fused(theirs)}
    return dict(arrays)


def _renamed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        re.sub(theirs, ours, name): array
        for name, array in arrays.items()
        for theirs, ours in _TRANSFORMERS.items()
        if re.fullmatch(theirs, name)
    }


def _fused(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Queries, keys and values as one map each, where all three are there."""
    fused = {}
    for name in arrays:
        found = _QUERY.fullmatch(name)
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if found and all(part in arrays for part in parts):
            fused[f"blocks.{found[1]}.attn.qkv.{found[2]}"] = np.concatenate([arrays[part] for part in parts])
    return fused


def _is_square(number: int) -> bool:
    return number > 0 and round(number**0.5) ** 2 == number
