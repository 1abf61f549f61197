"""The two branches: the one that is trained, and its slow copy."""

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.vit.vit import ViT
from fedward_models.layers.slow_copy import SlowCopy
from fedward_models.layers.transformer import layer_norm
from fedward_models.training.surroundings import mode


def features_of(backbone: Backbone, norm: nn.Module, images: Tensor) -> Tensor:
    """What heads read: the normed class token of a vision transformer as in MoCo v3, or the backbone's features.

    Args:
        backbone: The network.
        norm: Of the class token; unused for other networks.
        images: (B, C, H, W), float, standardised.

    Returns:
        (B, E).
    """
    if isinstance(backbone, ViT):
        token: Tensor = norm(backbone.encode(backbone.embed(images))[:, 0])
        return token
    features: Tensor = backbone(images)
    return features


def check_takes(backbone: Backbone, *, size_px: int, channels: int) -> None:
    """Refuse views of a size that the backbone does not take.

    Raises:
        SpecError: Patches do not divide it, or the backbone takes images of one size only.
    """
    if isinstance(backbone, ViT) and size_px % backbone.config.patch_px:
        raise SpecError(
            f"local_px {size_px} does not divide into patches of {backbone.config.patch_px}: choose a multiple of it"
        )
    try:
        with torch.no_grad(), mode(backbone, training=False):
            backbone(torch.zeros(1, channels, size_px, size_px))
    except (AssertionError, RuntimeError, ValueError) as error:  # libraries refuse sizes in ways of their own
        raise SpecError(
            f"the backbone does not take crops of {size_px} pixels beside whole images: leave local_px out"
        ) from error


def prepare_backbone(backbone: Backbone, *, freeze_patches: bool) -> nn.Module:
    """Give a vision transformer the form and the initialisation of MoCo v3; other networks stay as they are.

    Positions are fixed, no block is skipped, the patch embedding stays as it is if wished.

    Returns:
        The norm of the class token.
    """
    if not isinstance(backbone, ViT):
        return nn.Identity()
    backbone.become_encoder()
    backbone.patch_embed.requires_grad_(not freeze_patches)
    nn.init.normal_(backbone.cls_token, std=1e-6)
    for name, weight in backbone.named_parameters():
        if name.endswith("qkv.weight"):  # queries, keys and values are maps of their own
            bound = (6 / (weight.shape[0] / 3 + weight.shape[1])) ** 0.5
            nn.init.uniform_(weight, -bound, bound)
    return layer_norm(backbone.num_features)


class MomentumBranch(SlowCopy):
    """A slow copy of backbone, norm and projector."""

    backbone: Backbone
    norm: nn.Module
    projector: nn.Module

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D)."""
        projected: Tensor = self.projector(features_of(self.backbone, self.norm, images))
        return projected
