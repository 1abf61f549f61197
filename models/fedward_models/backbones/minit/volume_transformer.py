"""What MINiT and NiT have in common: an encoder for cubes, its channels and layers, and what input is refused.

Letters: B batch, C channel, S side of a volume in voxels, E width.
"""

from collections.abc import Iterator

from torch import Tensor

from fedward_core.errors import DataError, SpecError
from fedward_models.backbones.backbone import Axis, Backbone, ChannelGroup
from fedward_models.backbones.minit.config import VolumeTransformerConfig
from fedward_models.backbones.transformer_groups import heads_group, hidden_group
from fedward_models.layers.volume_encoder import EncoderShape, VolumeEncoder

_SHAPE = ("width", "depth", "heads", "hidden", "dropout", "embedding_dropout", "embedding_std", "layer_drop")


class VolumeTransformer(Backbone):
    """The base of both.

    Attributes:
        config: Its settings.
        volume_px: S.
        channels: C.
        encoder: Reads one cube, a block or the whole volume.
    """

    encoder: VolumeEncoder

    def __init__(self, config: VolumeTransformerConfig, *, volume_px: int, channels: int, cube_px: int) -> None:
        super().__init__()
        self.config, self.volume_px, self.channels = config, volume_px, channels
        self.encoder = VolumeEncoder(
            EncoderShape(
                num_patches=(cube_px // config.patch_px) ** 3,
                patch_values=channels * config.patch_px**3,
                skips_in_evaluation=config.skips_in_evaluation,
                **{name: getattr(config, name) for name in _SHAPE},
            )
        )

    def feature_map(self, images: Tensor) -> Tensor:  # noqa: ARG002 - the signature of the family
        """There is none: labels of voxels are not read.

        Raises:
            SpecError: Always.
        """
        raise SpecError(f"{self.config.name} has no features of places: choose a task with labels of whole volumes")

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """The heads and the hidden units of every block; the residual stream, which every block reads, stays whole."""
        return tuple(self._groups())

    def layer_of(self, name: str) -> int:
        """Embeddings 0, block i is i + 1, what follows the encoder goes with the head."""
        if name.startswith("encoder.blocks."):
            return int(name.split(".")[2]) + 1
        return 0 if name.startswith(("encoder.", "block_embedding")) else self.num_layers()

    def num_layers(self) -> int:
        """The embeddings and all blocks."""
        return self.config.depth + 1

    def standing_for(self, tokens: Tensor) -> Tensor:
        """What stands for a cube: (B, 1+N, E) to (B, E)."""
        return tokens[:, 0] if self.config.pool == "class" else tokens.mean(dim=1)

    def check(self, volumes: Tensor) -> None:
        """Refuse what is no cube of the study's size.

        Raises:
            DataError: The shape is not (B, C, S, S, S).
        """
        expected = (self.channels, *(3 * (self.volume_px,)))
        if tuple(volumes.shape[1:]) != expected:
            raise DataError(
                f"{self.config.name} reads volumes of {_written(expected)} (channels, depth, height, width), found "
                f"{_written(volumes.shape[1:])}: set dataset.depth to dataset.image_px, and give volumes"
            )

    def _groups(self) -> Iterator[ChannelGroup]:
        unit = self.config.width // self.config.heads
        for index in range(self.config.depth):
            name = f"encoder.blocks.{index}"
            outputs = (Axis(tensor=f"{name}.attn.qkv.weight", unit=unit, tiles=3),)
            yield heads_group(f"{name}.attn", heads=self.config.heads, unit=unit, outputs=outputs)
            yield hidden_group(f"{name}.mlp", channels=self.config.hidden)


def check_division(volume_px: int, part_px: int, setting: str) -> None:
    """Refuse cubes that do not fill the volume.

    Raises:
        SpecError: They do not.
    """
    if volume_px % part_px:
        raise SpecError(
            f"volumes of {volume_px} voxels a side do not divide into cubes of {part_px}: choose a {setting} that "
            "divides dataset.image_px"
        )


def _written(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
