"""The vision transformer of BEiT (Bao et al., ICLR 2022) in the form that SSL-FL trains.

Faithful to SSL-FL (Yan et al., IEEE TMI 2023; rui-yan/SSL-FL, commit 69c3388, code/fed_beit): no absolute positions; a
table of relative ones in each block at fine-tuning, and a single table for all of them in pre-training; queries and
values have a bias, keys have none; both branches of a block are scaled channel by channel; the features of an image are
the mean of the patch tokens through one more norm. Entries have the names of timm's BEiT, with which the tests compare
it; supervised training has no setting that starts from a file.
Differs: a network that is fine-tuned from scratch starts like one in pre-training (cut at one deviation, not at 2).

Letters: B batch, C channel, H height, W width, N patches, E embedding, h and w patches a side.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedward_models.backbones.backbone import Axis, ChannelGroup
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.backbones.patch_transformer import PatchTransformer
from fedward_models.backbones.transformer_groups import heads_group
from fedward_models.layers.patches import PatchEmbedding
from fedward_models.layers.relative_transformer import (
    calm_deeper_blocks,
    initialise_truncated,
    relative_blocks,
    set_drop_path,
    share_positions,
    truncated_normal,
)
from fedward_models.layers.transformer import layer_norm

_SHARED_TABLE = "shared_positions.relative_position_bias_table"


class BEiTViT(PatchTransformer):
    """BEiT's vision transformer over square images.

    Attributes:
        config: Its settings.
        image_px: H and W of the images it takes.
        num_patches: N.
        side: h and w.
        shared_positions: The table of all blocks in pre-training; None where each has its own.

    Raises:
        SpecError: The patch does not divide the image.
    """

    config: BEiTViTConfig
    no_weight_decay = ("cls_token",)  # SSL-FL, code/fed_beit, in both stages

    def __init__(self, config: BEiTViTConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        self.config, self.image_px = config, image_px
        self.num_features = width = config.width
        self.patch_embed = PatchEmbedding(image_px=image_px, patch_px=config.patch_px, channels=channels, width=width)
        self.side, self.num_patches = self.patch_embed.side, self.patch_embed.num_patches
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.blocks = relative_blocks(
            width=width,
            depth=config.depth,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            layer_scale=config.layer_scale,
            side=self.side,
        )
        self.shared_positions: nn.Module | None = None
        self.fc_norm: nn.Module = layer_norm(width)
        set_drop_path(self.blocks, config.drop_path)
        self.apply(initialise_truncated)
        calm_deeper_blocks(self.blocks)
        truncated_normal(self.cls_token)

    def embed(self, images: Tensor) -> Tensor:
        """Patch tokens: (B, C, H, W) to (B, N, E)."""
        tokens: Tensor = self.patch_embed(images)
        return tokens

    def encode(self, tokens: Tensor) -> Tensor:
        """Run all blocks on a class token and all patch tokens, (B, N, E): (B, 1+N, E), class token first."""
        tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        positions = None if self.shared_positions is None else self.shared_positions().unsqueeze(0)
        for block in self.blocks:
            tokens = block(tokens, shared_rel_pos_bias=positions)
        return tokens

    def become_encoder(self, *, drop_path: float) -> None:
        """Turn into what masked pre-training trains (SSL-FL, Sec. 2.2).

        All blocks share one table of positions, and the norm of pooled features is gone: from here on :meth:`embed` and
        :meth:`encode` are of use, :meth:`forward` is not.

        Args:
            drop_path: The rate of the last block in pre-training.
        """
        self.shared_positions = share_positions(self.blocks, heads=self.config.heads, side=self.side)
        self.fc_norm = nn.Identity()
        set_drop_path(self.blocks, drop_path)

    @property
    def clones(self) -> Mapping[str, str]:
        """The table of each block, from the one that all blocks share in pre-training (SSL-FL, Sec. 2.2)."""
        tables = (f"blocks.{index}.attn.relative_position_bias_table" for index in range(self.config.depth))
        return dict.fromkeys(tables, _SHARED_TABLE)

    def _heads_of(self, index: int) -> ChannelGroup:
        name, unit = f"blocks.{index}.attn", self.config.width // self.config.heads
        outputs = (
            Axis(tensor=f"{name}.qkv.weight", unit=unit, tiles=3),
            Axis(tensor=f"{name}.q_bias", unit=unit),
            Axis(tensor=f"{name}.v_bias", unit=unit),
            Axis(tensor=f"{name}.relative_position_bias_table", dim=1),
        )
        return heads_group(name, heads=self.config.heads, unit=unit, outputs=outputs)
