"""The vision transformer (Dosovitskiy et al., ICLR 2021) in the form that SSL-FL trains.

Faithful to SSL-FL (Yan et al., IEEE TMI 2023; code/fed_mae/models_vit.py): patches embedded by one linear map, a class
token, pre-norm blocks, and the mean of the patch tokens through one more norm as the features of an image. Entries have
the names of timm's ViT, whose weights ``towers.image_file`` reads for a frozen network and for MGCA's image tower.

Letters: B batch, C channel, H height, W width, N patches, M some of the patches, E embedding, h and w patches a side.
"""

import torch
from torch import Tensor, nn

from fedward_models.backbones.backbone import Axis, ChannelGroup
from fedward_models.backbones.patch_transformer import PatchTransformer
from fedward_models.backbones.transformer_groups import heads_group
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.layers.patches import PatchEmbedding
from fedward_models.layers.positions import resized_positions, sine_positions
from fedward_models.layers.transformer import initialise, layer_norm, transformer_blocks


class ViT(PatchTransformer):
    """A vision transformer over square images.

    Attributes:
        config: Its settings.
        image_px: H and W of the images it takes.
        num_patches: N.
        side: h and w.

    Raises:
        SpecError: The patch does not divide the image.
    """

    config: ViTConfig
    no_weight_decay = ("cls_token", "pos_embed")  # SSL-FL, code/fed_mae, at fine-tuning

    def __init__(self, config: ViTConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        self.config, self.image_px = config, image_px
        self.num_features = width = config.width
        self.patch_embed = PatchEmbedding(image_px=image_px, patch_px=config.patch_px, channels=channels, width=width)
        self.side, self.num_patches = self.patch_embed.side, self.patch_embed.num_patches
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(sine_positions(width=width, side=self.side))
        self.blocks = transformer_blocks(
            width=width,
            depth=config.depth,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            drop_path=config.drop_path,
        )
        self.fc_norm: nn.Module = layer_norm(width)
        self.apply(initialise)
        nn.init.normal_(self.cls_token, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Patch tokens with their positions: (B, C, H, W) to (B, N, E).

        Square images of another size, such as small crops, get a table that is stretched to theirs.
        """
        tokens: Tensor = self.patch_embed(images)
        side = images.shape[-1] // self.config.patch_px
        return tokens + resized_positions(self.pos_embed, side=side)[:, 1:]

    def encode(self, tokens: Tensor) -> Tensor:
        """Run all blocks on a class token and any of the patch tokens.

        Args:
            tokens: (B, M, E), with their positions.

        Returns:
            (B, 1+M, E), class token first.
        """
        first = self.cls_token + self.pos_embed[:, :1]
        tokens = torch.cat([first.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def become_encoder(self) -> None:
        """Turn into what masked pre-training trains (SSL-FL, Sec. 2.1).

        Positions are fixed, no block is ever skipped, and the norm of pooled features is gone: from here on
        :meth:`embed` and :meth:`encode` are of use, :meth:`forward` is not.
        """
        self.pos_embed.requires_grad_(False)
        self.fc_norm = nn.Identity()
        for block in self.blocks:
            block.drop_path1 = block.drop_path2 = nn.Identity()

    def _heads_of(self, index: int) -> ChannelGroup:
        name, unit = f"blocks.{index}.attn", self.config.width // self.config.heads
        outputs = tuple(Axis(tensor=f"{name}.qkv.{part}", unit=unit, tiles=3) for part in ("weight", "bias"))
        return heads_group(name, heads=self.config.heads, unit=unit, outputs=outputs)
