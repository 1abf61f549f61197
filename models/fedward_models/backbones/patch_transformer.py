"""What SSL-FL's two vision transformers have in common: pooled patch tokens, groups of channels, and layers by depth.

Letters: B batch, C channel, H height, W width, N patches, E embedding, h and w patches a side.
"""

from abc import abstractmethod

from torch import Tensor, nn

from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.backbones.transformer_config import PatchTransformerConfig
from fedward_models.backbones.transformer_groups import hidden_group


class PatchTransformer(Backbone):
    """A transformer over the patches of square images and a class token.

    Attributes:
        config: Its settings.
        side: h and w.
        fc_norm: The norm of pooled features.
    """

    config: PatchTransformerConfig
    side: int
    fc_norm: nn.Module

    @property
    def pooled(self) -> tuple[str, ...]:
        """The norm."""
        return ("fc_norm",)

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Patch tokens: (B, C, H, W) to (B, N, E)."""

    @abstractmethod
    def encode(self, tokens: Tensor) -> Tensor:
        """Run all blocks on patch tokens, with a class token before them: (B, N, E) to (B, 1+N, E)."""

    def forward(self, images: Tensor) -> Tensor:
        """The normed mean of the patch tokens: (B, C, H, W) to (B, E)."""
        features: Tensor = self.fc_norm(self.encode(self.embed(images))[:, 1:].mean(dim=1))
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """The normed patch tokens in their places: (B, C, H, W) to (B, E, h, w)."""
        tokens: Tensor = self.fc_norm(self.encode(self.embed(images))[:, 1:])
        return tokens.transpose(1, 2).reshape(images.shape[0], -1, self.side, self.side)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The heads and the hidden units of every block; the residual stream, which every block reads, stays whole."""
        return tuple(
            group for index in range(self.config.depth) for group in (self._heads_of(index), self._hidden_of(index))
        )

    def layer_of(self, name: str) -> int:
        """Embeddings 0, block i is i + 1, the last norm goes with the head (SSL-FL, Sec. 5.2)."""
        if name.startswith("fc_norm."):
            return self.num_layers()
        return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0

    def num_layers(self) -> int:
        """The embeddings and all blocks."""
        return self.config.depth + 1

    @abstractmethod
    def _heads_of(self, index: int) -> ChannelGroup:
        """The heads of a block."""

    def _hidden_of(self, index: int) -> ChannelGroup:
        hidden = int(self.config.width * self.config.mlp_ratio)
        return hidden_group(f"blocks.{index}.mlp", channels=hidden)
