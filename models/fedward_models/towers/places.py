"""The image tower: what alignment reads of a backbone, for the whole image and for its places.

Letters: B batch, C channel, H height, W width, N places, E features of an image, P of a place.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.resnet.resnet import ResNet
from fedward_models.backbones.vit.vit import ViT
from fedward_models.layers.attention_weights import attention_weights


@dataclass(frozen=True, kw_only=True)
class Places:
    """What an image tower gives.

    Attributes:
        image: (B, E), of the whole image.
        places: (B, N, P), of each place.
        importance: (B, N), attention from the class token, without gradient; None for a network without one.
    """

    image: Tensor
    places: Tensor
    importance: Tensor | None


def read_places(backbone: Backbone, images: Tensor) -> Places:
    """What the whole image and its places are, for each kind of network (MGCA, Sec. 3.1).

    Of a vision transformer class token and patch tokens after the last norm; of a residual network the pooled last map
    and the finer one before it; of any other pooled features and their map.

    Args:
        backbone: The network.
        images: (B, C, H, W), float, standardised.
    """
    if isinstance(backbone, ViT):
        return _of_transformer(backbone, images)
    if isinstance(backbone, ResNet):
        *_, finer, last = backbone.maps(images)
        return Places(image=last.mean(dim=(2, 3)), places=finer.flatten(2).transpose(1, 2), importance=None)
    places = backbone.feature_map(images).flatten(2).transpose(1, 2)
    return Places(image=backbone(images), places=places, importance=None)


def place_features(backbone: Backbone) -> int:
    """P, the width of what :func:`read_places` gives of a place."""
    return backbone.widths[-2] if isinstance(backbone, ResNet) else backbone.num_features


def _of_transformer(backbone: ViT, images: Tensor) -> Places:
    last, entering = backbone.blocks[-1], []
    hook = last.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0].detach()))
    try:
        tokens = backbone.fc_norm(backbone.encode(backbone.embed(images)))
    finally:
        hook.remove()
    importance = attention_map(last, entering[0])[:, :, 0, 1:].mean(dim=1)
    return Places(image=tokens[:, 0], places=tokens[:, 1:], importance=importance)


@torch.no_grad()
def attention_map(block: Any, tokens: Tensor) -> Tensor:
    """The attention of a block, which its own fast implementation does not give.

    Args:
        block: One of ``transformer_blocks``.
        tokens: (B, 1+N, E), what enters it.

    Returns:
        (B, heads, 1+N, 1+N); rows sum to 1.
    """
    return attention_weights(block.attn, block.norm1(tokens))
