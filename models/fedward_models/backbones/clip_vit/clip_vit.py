"""The image tower of CLIP: a vision transformer whose class token is projected into a space shared with texts.

Paper: A. Radford, J. W. Kim, C. Hallacy et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020.

Faithful to OpenAI's tower: no bias in the patch kernel, a norm before the blocks and one on the class token, a
projection without bias. ``towers.clip_image`` reads published weights. Differs: entries have the names of timm's
blocks, so that heads and hidden units can be cut like those of ``vit``; from scratch it starts like ``vit``.

Letters: B batch, C channel, H height, W width, N patches, T width of a token, E features, h and w patches a side.
"""

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Axis, Backbone, ChannelGroup
from fedward_models.backbones.clip_vit.config import CLIPViTConfig
from fedward_models.backbones.transformer_groups import heads_group, hidden_group
from fedward_models.layers.quick_gelu import QuickGELU
from fedward_models.layers.transformer import initialise, transformer_blocks

CHANNELS = 3
"""Every published tower reads colour; grey images are shown in three equal channels."""
_EPS = 1e-5  # torch's default, with which CLIP was trained


class CLIPViT(Backbone):
    """CLIP's vision transformer over square images.

    Attributes:
        config: Its settings.
        image_px: H and W of the images it takes.
        side: h and w.

    Raises:
        SpecError: The patch does not divide the image, or images are neither grey nor of three colours.
    """

    no_weight_decay = ("cls_token", "pos_embed")  # decided here, as for ``vit``

    def __init__(self, config: CLIPViTConfig, *, image_px: int, channels: int) -> None:
        super().__init__()
        if image_px % config.patch_px or channels not in (1, CHANNELS):
            raise SpecError(
                f"clip_vit reads grey or colour images that patches of {config.patch_px} pixels divide, found "
                f"{channels} channels of {image_px} pixels: choose another patch_px or dataset.image_px"
            )
        self.config, self.image_px, self.num_features = config, image_px, config.features
        self.side, width = image_px // config.patch_px, config.width
        self.patch_embed = nn.Conv2d(CHANNELS, width, config.patch_px, stride=config.patch_px, bias=False)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.side**2, width) * width**-0.5)
        self.norm_pre = nn.LayerNorm(width, eps=_EPS)
        self.blocks = transformer_blocks(width=width, depth=config.depth, heads=config.heads, eps=_EPS)
        self.norm_post = nn.LayerNorm(width, eps=_EPS)
        self.projection = nn.Linear(width, config.features, bias=False)
        self.apply(initialise)
        if config.activation == "quick_gelu":
            for block in self.blocks:
                block.get_submodule("mlp").add_module("act", QuickGELU())

    def forward(self, images: Tensor) -> Tensor:
        """The projected class token, not normalised to length 1: (B, C, H, W) to (B, E)."""
        features: Tensor = self.projection(self.class_token(images))
        return features

    def class_token(self, images: Tensor) -> Tensor:
        """The class token before it is projected, which CLIP's authors probe: (B, C, H, W) to (B, T)."""
        token: Tensor = self.norm_post(self._tokens(images)[:, 0])
        return token

    def feature_map(self, images: Tensor) -> Tensor:
        """The projected patch tokens in their places: (B, C, H, W) to (B, E, h, w)."""
        tokens: Tensor = self.projection(self.norm_post(self._tokens(images)[:, 1:]))
        return tokens.transpose(1, 2).reshape(images.shape[0], -1, self.side, self.side)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The heads and the hidden units of every block; the residual stream stays whole."""
        return tuple(
            group for index in range(self.config.depth) for group in (self._heads_of(index), self._hidden_of(index))
        )

    def layer_of(self, name: str) -> int:
        """Embeddings 0, block i is i + 1, the last norm and the projection go with the head."""
        if name.startswith(("norm_post.", "projection.")):
            return self.num_layers()
        return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0

    def num_layers(self) -> int:
        """The embeddings and all blocks."""
        return self.config.depth + 1

    def _tokens(self, images: Tensor) -> Tensor:
        patches = self.patch_embed(images.expand(-1, CHANNELS, -1, -1)).flatten(2).transpose(1, 2)
        joined = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), patches], dim=1)
        tokens: Tensor = self.norm_pre(joined + self.pos_embed)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def _heads_of(self, index: int) -> ChannelGroup:
        name, unit = f"blocks.{index}.attn", self.config.width // self.config.heads
        outputs = tuple(Axis(tensor=f"{name}.qkv.{part}", unit=unit, tiles=3) for part in ("weight", "bias"))
        return heads_group(name, heads=self.config.heads, unit=unit, outputs=outputs)

    def _hidden_of(self, index: int) -> ChannelGroup:
        return hidden_group(f"blocks.{index}.mlp", channels=4 * self.config.width)
