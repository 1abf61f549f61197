"""NiT, the Neuroimage Transformer: a vision transformer over the patches of a whole volume.

Paper: A. Singla, Q. Zhao, D. Do, Y. Zhou, K. Pohl, E. Adeli, "Multiple Instance Neuroimage Transformer", PRIME at
MICCAI 2022, https://arxiv.org/abs/2208.09567.

Faithful to singlaayush/MINIT (commit cf7006b, nit.py). Differs: without the second token and head that the released
class allocates and never uses; the classifier is the method's, which starts almost at zero.

Letters: B batch, C channel, S side of a volume, E width.
"""

from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.minit.config import NiTConfig
from fedward_models.backbones.minit.volume_transformer import VolumeTransformer, check_division
from fedward_models.layers.volume_blocks import flat_patches
from fedward_models.layers.volume_encoder import EPS

_FEWEST = 16  # released code: more patches than these, or attention over them tells little


class NiT(VolumeTransformer):
    """A transformer over cubes.

    Raises:
        SpecError: The patch does not divide the volume, or leaves 16 patches or fewer.
    """

    def __init__(self, config: NiTConfig, *, image_px: int, channels: int) -> None:
        check_division(image_px, config.patch_px, "patch_px")
        if (patches := (image_px // config.patch_px) ** 3) <= _FEWEST:
            raise SpecError(f"nit needs more than {_FEWEST} patches, found {patches}: choose a smaller patch_px")
        super().__init__(config, volume_px=image_px, channels=channels, cube_px=image_px)
        self.num_features = config.width
        self.norm = nn.LayerNorm(config.width, eps=EPS)

    def forward(self, images: Tensor) -> Tensor:
        """The normed class token: (B, C, S, S, S) to (B, E).

        Raises:
            DataError: The volumes have another shape.
        """
        self.check(images)
        tokens = self.encoder.embed(flat_patches(images, patch_px=self.config.patch_px))
        features: Tensor = self.norm(self.standing_for(self.encoder.encode(tokens)))
        return features
